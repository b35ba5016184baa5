"""Raw CAN logs to signals. Pure: bytes and definitions in, columns out; no database, no web.

A log file is read into blocks of frames (`formats`), transport messages are joined (`transport`, `isotp`), frames are
decoded by the definitions bound to their channel (`dbc`, `j1939`, `decode`), and signals become rows on the vehicle's
`sample_period` (`window`).
"""
