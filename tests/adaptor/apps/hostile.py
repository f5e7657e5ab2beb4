# Replaces every function that it can reach. Each works as before, except if the adaptor calls it: then it says so and
# raises. Modules that only the adaptor would import from now on are replaced by empty ones.

import atexit
import builtins
import faulthandler
import fcntl
import gc
import importlib
import io
import linecache
import mmap
import os
import posix
import resource
import select
import signal
import socket
import stat
import struct
import sys
import threading
import time
import traceback
import types

import _imp
import _io
import _signal
import _socket
import _stat
import _thread

MODULES = (_imp, _io, _signal, _socket, _stat, _thread, atexit, builtins, faulthandler, fcntl, gc, importlib, io, linecache,
           mmap, os, posix, resource, select, signal, socket, stat, struct, sys, threading, time, traceback)
KEPT = {
    builtins: ('dir', 'eval', 'exec', 'globals', 'locals', 'super', 'vars'),  # they look at their caller
    # The interpreter uses these for a traceback, and does without if they fail.
    io: ('open',),
    traceback: ('_print_exception_bltin',),
}
GONE = ('_socket', '_stat', 'fcntl', 'gc', 'mmap', 'os', 'posix', 'resource', 'select', 'stat', 'time')
FUNCTIONS = types.FunctionType, types.BuiltinFunctionType
CLASSES = (io.BufferedReader, io.BytesIO, mmap.mmap, socket.socket, threading.Thread, _socket.socket)
replaced = 0


def hostile(name, function, getframe=sys._getframe, write=os.write):
    def call(*arguments, **options):
        caller = getframe(0).f_back  # None: the interpreter itself
        if caller and 'HOP_BY_HOP' in caller.f_globals:
            write(2, b'the adaptor called ' + name.encode() + b'\n')
            raise RuntimeError(name)
        return function(*arguments, **options)
    return call


def replace():
    global replaced
    for module in MODULES:
        for name, function in list(vars(module).items()):
            if (isinstance(function, FUNCTIONS) or function in CLASSES) and name not in KEPT.get(module, ()):
                setattr(module, name, hostile(module.__name__ + '.' + name, function))
                replaced += 1
    sys.__excepthook__ = hostile('sys.__excepthook__', sys.__excepthook__)
    select.__dict__.pop('poll')
    select.__dict__.pop('epoll')
    for name in GONE:
        sys.modules[name] = types.ModuleType('taken by the application')


def application(environ, start_response, sleep=time.sleep):
    path = environ['PATH_INFO']
    if path == '/stuck':
        sleep(600)
    if path == '/planted':  # calls one as the adaptor would
        exec('len(())', {'HOP_BY_HOP': None})
    if path == '/raises':
        raise KeyError('of the application')
    if path == '/lazy':
        import bare
        assert bare
    if path == '/forks':
        pid = os.fork()
        if not pid:
            os._exit(7)
        assert os.WEXITSTATUS(os.waitpid(pid, 0)[1]) == 7
    start_response('200 OK', [('Content-Type', 'text/plain')])
    if path == '/large':
        return [b'x' * 1000000] * 8
    if path == '/echo':
        return environ['wsgi.file_wrapper'](environ['wsgi.input'])
    return [b'%d' % replaced]


replace()
