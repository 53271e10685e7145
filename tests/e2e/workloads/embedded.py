# SPDX-License-Identifier: BSD-2-Clause
"""
One busy function, for interpreters that are embedded, moved or cut down: it asks little of them, since
an extension module would bring a second libpython into a program that has one linked in. It runs from
the first line on stdin until it is killed (ten minutes are the safety net). uwsgi calls application().
"""
import sys

try:
    import _signal as signal
except ImportError:
    import signal

STRETCH = range(5000)


def spin():
    sum(STRETCH)  # line: spin


def ready():
    facts = (spin.__code__.co_filename,) + tuple(sys.version_info[:3])
    return 'ready {"file": "%s", "version": [%d, %d, %d]}\n' % facts


def application(environ, start_response):
    start_response("200 OK", [])
    yield ready().encode()
    while environ["PATH_INFO"] == "/go":
        spin()  # drive: application


signal.alarm(600)
if __name__ == "__main__":
    sys.stdout.write(ready())
    sys.stdout.flush()
    sys.stdin.readline()
    while True:
        spin()  # drive: <module>
