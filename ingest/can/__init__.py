"""Raw CAN logs to signals. Pure: bytes and definitions in, columns out; no database, no web.

A log file is read into blocks of frames (`formats`), which are put in order and together with other logs' (`merge`) and
cut into windows (`windows`). In a window, transport messages are joined (`transport`, `isotp`), everything is decoded
by the definitions bound to its channel (`dbc`, `j1939`, `messages`, `decode`), sources are combined (`combine`) and
put on the vehicle's `sample_period` (`signals`, `grid`); trouble codes become sightings (`dm1`). What is told is kept
on disk piece by piece (`spool`) until it is stored.
"""
