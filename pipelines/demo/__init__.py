"""The demonstration: a fictitious programme of six pilots, run through the whole path on this machine."""
