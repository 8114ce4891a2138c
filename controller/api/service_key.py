"""Where handlers find the service in aiohttp's application."""

from aiohttp import web

from controller.service import Service

SERVICE = web.AppKey("service", Service)
