"""Hello, and a page that Django makes from a template with 20 variables, through nginx: our daemon by scgi_pass, uWSGI
by uwsgi_pass and by scgi_pass, gunicorn by proxy_pass, with as many worker processes."""

from app_servers import GUNICORN, KEEPING, POLYCGI, UWSGI, UWSGI_SCGI, Crew, against, middle
from common import HELLO
from figures import Budget, Result, Table, number

TITLE = 'Through nginx to application servers'
# Processes, and requests at once.
CREWS = (2, 8), (4, 8)
# The least of uWSGI's speed for hello, by processes.
HELLO_LEAST = {2: 0.85, 4: 0.95}

VARIABLES = 20
DJANGO = 'from project.wsgi import application\n'
PROJECT = {
    'project/__init__.py': '',
    'project/settings.py': '''\
SECRET_KEY = 'of a bench, on a loopback address, for a minute'
ALLOWED_HOSTS = ['*']
ROOT_URLCONF = 'project.urls'
INSTALLED_APPS = ['django.contrib.auth', 'django.contrib.contenttypes', 'django.contrib.sessions',
                  'django.contrib.messages', 'pages']
MIDDLEWARE = ['django.middleware.security.SecurityMiddleware', 'django.contrib.sessions.middleware.SessionMiddleware',
              'django.middleware.common.CommonMiddleware', 'django.middleware.csrf.CsrfViewMiddleware',
              'django.contrib.auth.middleware.AuthenticationMiddleware',
              'django.contrib.messages.middleware.MessageMiddleware',
              'django.middleware.clickjacking.XFrameOptionsMiddleware']
TEMPLATES = [{'BACKEND': 'django.template.backends.django.DjangoTemplates', 'APP_DIRS': True}]
''',
    'project/urls.py': '''\
from django.urls import path
from pages.views import page

urlpatterns = [path('', page)]
''',
    'project/wsgi.py': '''\
import os
from django.core.wsgi import get_wsgi_application

os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'project.settings')
application = get_wsgi_application()
''',
    'pages/__init__.py': '',
    'pages/views.py': f'''\
from django.shortcuts import render


def page(request):
    asked = request.GET.get('page', '0')
    return render(request, 'page.html', {{f'v{{number}}': f'{{asked}} & {{number}}' for number in range({VARIABLES})}})
''',
    'pages/templates/page.html': (
        '<!DOCTYPE html>\n<html lang="en">\n<title>{{ v0 }}</title>\n<table>\n'
        + ''.join(f'<tr><th>{number}<td>{{{{ v{number} }}}}\n' for number in range(1, VARIABLES)) + '</table>\n</html>\n'),
}


def measure(site):
    result = Result()
    names = POLYCGI, KEEPING, UWSGI, UWSGI_SCGI, GUNICORN
    race(site, result, 'Hello', HELLO, lambda body: body == b'hello\n', names, site.rounds(5, 1))
    names = POLYCGI, KEEPING, UWSGI, GUNICORN
    race(site, result, f'A Django page of {VARIABLES} variables', DJANGO, is_page, names, site.rounds(4, 1))
    return result


def race(site, result, what, text, is_right, names, rounds):
    for processes, at_once in site.rounds(CREWS, CREWS[:1]):
        folder = site.folder()
        if text is DJANGO:
            lay_out(site, folder)
        with Crew(site, folder, text, processes, names) as crew:
            crew.expect(is_right)
            costs = crew.race(at_once, rounds)
            calls = {name: crew.calls(name) for name in names} if processes == CREWS[0][0] else {}
            title = f'{what} through nginx, {processes} worker processes, {at_once} requests at once'
            result.tables.append(Table(title, rows(costs, calls)))
            result.series[title] = {name: middle(costs[name], 'rate') for name in names}
            for peer, least in leasts(text, processes).items():
                figure = against(costs[POLYCGI], costs[peer])
                result.budgets.append(Budget(
                    f'{what} through nginx: our daemon / {peer}, {processes} processes each', least, figure, True))
            crew.expect(is_right)


def leasts(text, processes):
    """The budgets, by peer."""
    return {UWSGI: HELLO_LEAST[processes]} if text is HELLO else {UWSGI: 0.9, GUNICORN: 1.2}


def rows(costs, calls):
    heads = ['', 'requests/s', 'of uWSGI', 'p99 ms', 'µs each', 'and nginx']
    lines = [[name, number(middle(each, 'rate')), number(against(each, costs[UWSGI])), number(middle(each, 'p99')),
              number(middle(each, 'server')), number(middle(each, 'server') + middle(each, 'nginx'))]
             for name, each in costs.items()]
    if calls:
        heads += ['system calls', 'and nginx']
        for line in lines:
            server, nginx = calls[line[0]]
            line += [number(server), number(server + nginx)]
    return [tuple(line) for line in (heads, *lines)]


def lay_out(site, folder):
    for name, text in PROJECT.items():
        site.make(f'{folder}/{name.rpartition("/")[0]}')
        site.write(f'{folder}/{name}', text)


def is_page(body):
    values = [f'1 &amp; {number}'.encode() for number in range(VARIABLES)]
    return body.count(b'&amp;') == VARIABLES and all(value in body for value in values)
