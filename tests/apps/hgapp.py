"""Mercurial's hgweb as a WSGI application: where its configuration lies, and nothing of how it is served."""

import os

# As in Mercurial's own hgweb.cgi: without it each CGI imports twice as much.
from mercurial import demandimport

demandimport.enable()

from mercurial.hgweb import hgweb  # noqa: E402

application = hgweb(os.fsencode(os.environ['HGWEB_CONFIG']))
