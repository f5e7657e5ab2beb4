"""A Flask application as the tests serve it: a form, a session in a cookie, a file that is uploaded, a response that is
streamed."""

import hashlib
import os

from flask import Flask, Response, abort, redirect, request, send_file, session, url_for

HERE = os.path.dirname(os.path.abspath(__file__))

application = Flask(__name__)
application.secret_key = 'only for tests'


def digest(stream):
    """A digest and a length, the stream read to its end."""
    sha256, length = hashlib.sha256(), 0
    while True:
        block = stream.read(65536)
        if not block:
            return '%s %d' % (sha256.hexdigest(), length)
        sha256.update(block)
        length += len(block)


@application.route('/', methods=['GET', 'POST'])
def form():
    if request.method == 'POST':
        session['name'] = request.form['name']
        if 'picture' in request.files:
            session['picture'] = digest(request.files['picture'].stream)
        return redirect(url_for('form'), code=303)
    return 'hello %s, %s\n' % (session.get('name', 'nobody'), session.get('picture', 'no picture'))


@application.route('/digest', methods=['POST'])
def of_body():
    """The body, with or without a length."""
    return digest(request.stream) + '\n'


@application.route('/json', methods=['PUT'])
def json():
    return {'got': request.get_json()}


@application.route('/stream')
def stream():
    """A first piece, and the second when the test opens the gate."""
    def pieces():
        yield 'first\n'
        with open(os.path.join(HERE, 'gate.entered'), 'w') as entered:
            entered.write('%d\n' % os.getpid())
        with open(os.path.join(HERE, 'gate.go'), 'rb', buffering=0) as go:
            go.read(1)
        yield 'second\n'
    return Response(pieces(), mimetype='text/plain')


@application.route('/source')
def source():
    """This file, by wsgi.file_wrapper."""
    return send_file(__file__, mimetype='text/x-python', conditional=True)


@application.route('/where/<path:words>')
def where(words):
    """What the application knows of its own address."""
    return '%s %s %s\n' % (words, url_for('form'), request.url)


@application.route('/secret')
def secret():
    abort(401)


@application.route('/broken')
def broken():
    raise RuntimeError('the application is broken on purpose')
