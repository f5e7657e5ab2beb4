"""Runs an application as a plain CGI by the standard library: the reference for ours."""

import wsgiref.handlers


def run(application):
    """One request, by the CGI environment."""
    wsgiref.handlers.CGIHandler().run(application)
