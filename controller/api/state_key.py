"""The key under which handlers find the controller's state in aiohttp's application."""

from aiohttp import web

from controller.state import State

STATE = web.AppKey("state", State)
