"""Many inputs in one run: where results go, doing one of them, all of them.

``jobs`` pairs inputs with outputs, ``work`` does one job; what holds for a whole run is in
``settings``. Each piece stands alone, takes and gives what JSON can hold, and imports nothing slow
before it works, so that a job can as well be done on another machine.
"""
