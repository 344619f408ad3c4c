"""A site of Django in one file: gunicorn app:application."""

import hashlib
import os
import threading

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import redirect
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1", os.environ["OWN_HOST"], ".site.test"],
    DATA_UPLOAD_MAX_MEMORY_SIZE=None,
    DEBUG=False,
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.middleware.gzip.GZipMiddleware",
    ],
    ROOT_URLCONF=__name__,
    SECRET_KEY="not secret",
    SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"),
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
)

steps = {}


def who(request):
    return JsonResponse({
        "url": request.build_absolute_uri(),
        "host": request.get_host(),
        "scheme": request.scheme,
        "secure": request.is_secure(),
        "client": request.META.get("HTTP_X_FORWARDED_FOR"),
    })


def form(request):
    if request.method == "POST":
        request.session["name"] = request.POST["name"]
        return redirect("/greet/")
    return HttpResponse(get_token(request), content_type="text/plain")


def greet(request):
    return HttpResponse("hello " + request.session.get("name", "nobody"), content_type="text/plain")


def absolute(request):
    return redirect(request.build_absolute_uri("/greet/?a=b"))


@csrf_exempt
def upload(request):
    digest = hashlib.sha256(request.body).hexdigest()
    return JsonResponse({"size": len(request.body), "sha256": digest, "told": request.META.get("CONTENT_LENGTH")})


@csrf_exempt
def form_upload(request):
    file = request.FILES["file"]
    return JsonResponse({"name": file.name, "size": file.size, "sha256": hashlib.sha256(file.read()).hexdigest()})


def stream(request, name):
    """Each part is made when somebody asks for it."""
    steps[name] = threading.Semaphore(1)

    def parts():
        for number in range(5):
            steps[name].acquire()
            yield f"part {number}\n"

    return StreamingHttpResponse(parts(), content_type="text/plain")


def step(request, name):
    steps[name].release()
    return HttpResponse(status=204)


def long(request):
    return HttpResponse("a line of text\n" * 10_000, content_type="text/plain")


urlpatterns = [
    path("who/", who),
    path("form/", form),
    path("greet/", greet),
    path("absolute/", absolute),
    path("upload/", upload),
    path("form-upload/", form_upload),
    path("stream/<name>/", stream),
    path("step/<name>/", step),
    path("long/", long),
]
application = get_wsgi_application()
