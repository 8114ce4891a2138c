"""People sign in to the page with a real provider, and buttons outside of their scope say why they are disabled."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from controller.config import OidcConfig, OidcGrant
from controller.reconcile.world import Retired, drop_twin
from controller.trust.scope import Scope
from controller.verbs import tokens
from tests.controller.page_worlds import MODEL, ROLLOUT, fill
from tests.integration.page_browser import NEEDS_CHROMIUM, SLOW_MS, Look, Served, until
from tests.integration.test_page_accessibility import check

pytestmark = [*NEEDS_CHROMIUM, pytest.mark.filterwarnings("ignore")]
GRANT = OidcGrant(claim="groups", value="ops-north", roles=("operator",), labels={"site": "aldern"})


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    mock = pytest.importorskip("oidc_provider_mock", reason="no provider here: pip install oidc-provider-mock==0.3.4")
    people = [
        mock.User(sub="ada", claims={"preferred_username": "ada", "groups": ["ops-north"]}),
        mock.User(sub="guest", claims={"preferred_username": "guest"}),
    ]
    folder = tmp_path_factory.mktemp("people")
    (folder / "secret").write_text("s3cret")
    with mock.run_server_in_thread(user_claims=people) as provider:
        issuer, secret = f"http://localhost:{provider.server_port}", str(folder / "secret")
        oidc = OidcConfig("Example Corp", issuer, "edgeward", secret, grant=(GRANT,))
        made = Served(folder, lambda state: fill(state, time.time(), 60), oidc=oidc)
        yield made
        made.close()


def sign_in(page: Any, url: str, who: str) -> None:
    """Goes from the sign-in page to the provider and back."""
    page.goto(f"{url}/rollouts/{ROLLOUT}?rule=1")
    page.get_by_role("button", name="Sign in with Example Corp").click()
    page.get_by_role("button", name=who, exact=True).click()
    page.wait_for_url(f"{url}/**")


def test_a_person_signs_in_with_a_provider_and_returns_to_the_requested_page(browser: Any, served: Served) -> None:
    context = browser.new_context()
    context.route("https://**", lambda route: route.abort())
    page = context.new_page()
    page.set_default_timeout(SLOW_MS)
    sign_in(page, served.url, "guest")
    page.get_by_role("alert").filter(has_text="You are not signed in").wait_for()
    assert page.url.endswith("/"), "the code has left the address"
    sign_in(page, served.url, "ada")
    page.wait_for_selector("nav.nav")
    assert page.url == f"{served.url}/rollouts/{ROLLOUT}?rule=1"
    page.get_by_role("button", name="ada: menu").click()
    page.get_by_text("acts only on site=aldern").wait_for()
    (cookie,) = context.cookies(f"{served.url}/v1/me")
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    page.get_by_role("button", name="End this session").click()
    page.get_by_role("button", name="Sign in with Example Corp").wait_for()
    context.close()


def test_axe_finds_nothing_on_a_sign_in_page_with_a_provider(browser: Any, served: Served) -> None:
    look = Look(browser, served)
    look.page.goto(f"{served.url}/fleet#refused=sign_in_refused")
    look.page.get_by_role("button", name="Sign in with Example Corp").wait_for()
    check(look)
    look.close()


def test_a_button_outside_of_a_scope_is_disabled_and_names_the_scope_of_the_token(browser: Any, served: Served) -> None:
    scope = Scope(labels={"site": "aldern"}, models=(MODEL,))
    make = tokens.create_token
    _, token = served.on_loop(lambda: make(served.state, "bea", ("operator",), days=1, actor="test", scope=scope))
    look = Look(browser, served)
    look.enter(token, f"/rollouts/{ROLLOUT}")
    pause = look.page.get_by_role("button", name="Pause")
    pause.wait_for()
    words = f"Your token is for site=aldern, model {MODEL}, and {ROLLOUT} is about every device."
    look.page.get_by_text(words).first.wait_for(state="attached")
    assert pause.get_attribute("aria-disabled") == "true"
    check(look)
    for address, name, reason in (
        ("/devices/holm-002", "Revoke", "it reaches holm-002"),
        ("/alerts", "Silence", "it reaches the whole fleet, or what everybody shares"),
    ):
        look.go(address)
        look.page.get_by_text(f"Your token is for site=aldern, model {MODEL}, and {reason}").first.wait_for(
            state="attached"
        )
        button = look.page.get_by_role("button", name=name, exact=True).first
        until(lambda button=button: button.get_attribute("aria-disabled") == "true")
    look.close()
    _, everywhere = served.token("cea", "operator")
    look = Look(browser, served)
    look.enter(everywhere, f"/rollouts/{ROLLOUT}")
    look.page.get_by_role("button", name="Pause").wait_for()
    assert look.page.get_by_role("button", name="Pause").get_attribute("aria-disabled") is None
    look.close()


def test_a_retired_device_has_its_buttons_off_with_the_reason_and_no_error(browser: Any, served: Served) -> None:
    _, token = served.token("dea", "admin")
    served.on_loop(lambda: drop_twin(served.state.world, "holm-002"))
    served.on_loop(lambda: served.state.world.durable.retired.update({"holm-002": Retired(at="", by="ada")}))
    look = Look(browser, served)
    look.enter(token, "/devices/holm-002")
    look.page.get_by_text("It was retired, and its vitals were deleted.").wait_for()
    for name in ("Revoke", "Pin", "Newest log lines", "Run its doctor"):
        assert look.page.get_by_role("button", name=name, exact=True).get_attribute("aria-disabled") == "true"
    assert look.page.get_by_text("unknown_device").count() == 0
    look.close()
