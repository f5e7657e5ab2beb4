"""Templates by Jinja2 and Django, as sites use them: an engine reads a file once and keeps what it holds. The folder of
the templates is `templates` beside the folder of this file."""

import os

import django
import flask
from django.conf import settings
from django.template import loader

FOLDER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'templates')
LOADERS = [('django.template.loaders.cached.Loader', ['django.template.loaders.filesystem.Loader'])]

settings.configure(TEMPLATES=[{
    'BACKEND': 'django.template.backends.django.DjangoTemplates', 'DIRS': [FOLDER], 'OPTIONS': {'loaders': LOADERS}}])
django.setup()
application = flask.Flask(__name__, template_folder=FOLDER)


@application.route('/<engine>/<name>')
def page(engine, name):
    """What the template says, and the process."""
    if engine == 'write':
        # An application that writes its own template, another text each time.
        with open(os.path.join(FOLDER, name), 'w') as file:
            file.write(os.urandom(8).hex())
        engine = 'jinja2'
    application.jinja_env.auto_reload = engine == 'looking'
    said = loader.render_to_string(name) if engine == 'django' else flask.render_template(name)
    return flask.Response('%s %d\n' % (said.strip(), os.getpid()), mimetype='text/plain')
