"""A Django project in one file, as the tests serve it: a form with a CSRF token, a session in a cookie, a file that is
uploaded, a response that is streamed. No database."""

import hashlib
import os

from django import forms
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.shortcuts import redirect
from django.middleware.csrf import get_token
from django.template import Context, Engine
from django.urls import path, reverse
from django.views.decorators.csrf import csrf_exempt

HERE = os.path.dirname(os.path.abspath(__file__))

settings.configure(
    ALLOWED_HOSTS=['*'],
    MIDDLEWARE=[
        'django.contrib.sessions.middleware.SessionMiddleware',
        'django.middleware.common.CommonMiddleware',
        'django.middleware.csrf.CsrfViewMiddleware',
    ],
    ROOT_URLCONF=__name__,
    SECRET_KEY='only for tests',
    SESSION_ENGINE='django.contrib.sessions.backends.signed_cookies',
    USE_TZ=True,
)

PAGE = Engine().from_string('''<form method="post" enctype="multipart/form-data">
<input type="hidden" name="csrfmiddlewaretoken" value="{{ token }}">{{ form }}</form>
<p>{{ greeting }}</p>
''')


class Greeting(forms.Form):
    name = forms.CharField(max_length=20)
    picture = forms.FileField(required=False)


def form(request):
    """Shows the form; takes it, and then sends to the page again, which has the name from the session."""
    filled = Greeting(request.POST or None, request.FILES or None)
    if request.method == 'POST' and filled.is_valid():
        request.session['name'] = filled.cleaned_data['name']
        picture = filled.cleaned_data['picture']
        if picture:
            sha256 = hashlib.sha256()
            for chunk in picture.chunks():
                sha256.update(chunk)
            request.session['picture'] = '%s %d' % (sha256.hexdigest(), picture.size)
        return redirect('form')
    greeting = 'hello %s, %s' % (request.session.get('name', 'nobody'), request.session.get('picture', 'no picture'))
    return HttpResponse(PAGE.render(Context({'form': filled, 'greeting': greeting, 'token': get_token(request)})))


def stream(request):
    """A first piece, and the second when the test opens the gate."""
    def pieces():
        yield 'first\n'
        with open(os.path.join(HERE, 'gate.entered'), 'w') as entered:
            entered.write('%d\n' % os.getpid())
        with open(os.path.join(HERE, 'gate.go'), 'rb', buffering=0) as go:
            go.read(1)
        yield 'second\n'
    return StreamingHttpResponse(pieces(), content_type='text/plain')


def source(request):
    """This file, by wsgi.file_wrapper."""
    return FileResponse(open(__file__, 'rb'), content_type='text/x-python')


@csrf_exempt
def digest(request):
    """The body, with or without a length."""
    sha256, length = hashlib.sha256(), 0
    for block in iter(lambda: request.read(65536), b''):
        sha256.update(block)
        length += len(block)
    return HttpResponse('%s %d\n' % (sha256.hexdigest(), length), content_type='text/plain')


def where(request, word):
    """What the project knows of its own address."""
    return HttpResponse('%s %s %s\n' % (word, reverse('form'), request.build_absolute_uri()), content_type='text/plain')


def broken(request):
    raise RuntimeError('the project is broken on purpose')


urlpatterns = [
    path('', form, name='form'),
    path('broken', broken),
    path('digest', digest),
    path('source', source),
    path('stream', stream),
    path('where/<str:word>', where),
]

application = get_wsgi_application()
