"""Drivers that pretend: for tests of programs that use the library, and of Bento itself. Nothing here needs root.

An engine on them stops and lists what a test has set up. Its rules, store, locks and reports are the real ones:

    from bento.engine.facade import EngineFacade
    from bento.testing.drivers import FakeDrivers

    with FakeDrivers(tmp_path) as drivers:
        drivers.server("web")
        report = EngineFacade(drivers).stop("web")
        assert report.verdict.value == "graceful"

``FakeDrivers`` holds a fake of each family of ``bento.drivers``; the docstring of each says what it can be told. The
product does not import this package.
"""
