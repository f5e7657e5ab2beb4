# Sets a time-out for all sockets at its import, as some libraries do.

import socket

from slow import application as application

socket.setdefaulttimeout(3600)
