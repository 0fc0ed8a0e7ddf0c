"""Servers of databases that are not this machine show a certificate that an authority signed, for their own
name; nobody has to ask for it.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import certifi
import psycopg2  # type: ignore[import-untyped]
import pytest
from sqlalchemy.engine import make_url

from exchange_platform.operations import passwords
from exchange_platform.settings import InvalidSettings, Settings, load_settings
from exchange_platform.stores.checkpoints import StoreUnavailable
from exchange_platform.stores.dagster_database import dagster_answers, dagster_database
from exchange_platform.stores.lake import Lake
from exchange_platform.stores.operational.database import Database
from tests.support.certificates import Certificate
from tests.support.postgres_parts import Postgres

PUBLIC = certifi.where()


def mysql_ssl(url: str, **more: object) -> dict[str, str]:
    """What PyMySQL is told of TLS."""
    made = Settings(database_url=url, **more).operational_database_url  # type: ignore[arg-type]
    return {key: str(value) for key, value in make_url(made).query.items()}


@pytest.mark.parametrize(
    "host", ["db.example", "10.0.0.7", "[fd00::1]", "localhost.example", "127.0.0.1.nip"]
)
def test_a_server_elsewhere_is_verified_although_nobody_asked(host: str) -> None:
    verified = {"ssl_ca": PUBLIC, "ssl_check_hostname": "true"}
    assert mysql_ssl(f"mysql+pymysql://e:p@{host}/exchange") == verified
    assert mysql_ssl(f"mysql+pymysql://e@{host}/exchange", database_password="p") == verified
    place = host.strip("[]")
    settings = Settings(
        lake_catalog=f"postgres:host={place} dbname=lake", dagster_host=place, lake_catalog_password="p"
    )
    for text in (settings.lake_catalog_string, settings.lake_read_catalog_string):
        assert f"sslmode='verify-full' sslrootcert='{PUBLIC}'" in text
    dagster = dagster_database(settings)
    assert dagster is not None
    assert dagster.query == {"sslmode": "verify-full", "sslrootcert": PUBLIC}


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.0.0.2", "[::1]"])
def test_this_machine_is_asked_for_nothing_unless_somebody_asks(host: str, tmp_path: Path) -> None:
    assert mysql_ssl(f"mysql+pymysql://e:p@{host}/exchange") == {}
    place = f"postgres:host={host.strip('[]')} dbname=lake"
    assert Settings(lake_catalog=place).lake_catalog_string == place
    ca = Certificate(tmp_path).file
    asked = Settings(lake_catalog=place, database_tls="verified", database_ca_file=ca)
    assert asked.lake_catalog_string == f"{place} sslmode='verify-full' sslrootcert='{ca}'"


@pytest.mark.parametrize(
    "place",
    [
        "postgresql://me:pw@db.example:5432/lake",
        "postgres://me@localhost,db.example/lake",
        "postgresql:///lake?host=db.example",
        "host='db.example' dbname=lake",
        "dbname=lake host = db.example",
        "dbname=lake host=127.0.0.1,db.example",
        "dbname=lake host=localhost hostaddr=10.0.0.7",
        "service=elsewhere",
    ],
)
def test_no_way_of_writing_a_catalog_leads_elsewhere_unverified(place: str) -> None:
    assert "verify-full" in Settings(lake_catalog=f"postgres:{place}").lake_catalog_string


def test_libpq_s_own_variable_does_not_lead_elsewhere_unverified(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "db.example")
    assert "verify-full" in Settings(lake_catalog="postgres:dbname=lake").lake_catalog_string


def test_what_an_address_says_of_tls_itself_counts() -> None:
    assert mysql_ssl("mysql+pymysql://e:p@db.example/x?ssl_check_hostname=false") == {
        "ssl_check_hostname": "false"
    }
    text = "postgres:host=db.example sslmode=require"
    assert Settings(lake_catalog=text).lake_catalog_string == text


def test_certificates_may_be_given_as_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pem = Certificate(tmp_path).file.read_text()
    settings = Settings(database_url="mysql+pymysql://e:p@db.example/x", database_ca=pem)
    authority = settings.database_authority
    assert authority is not None
    assert authority.read_text() == pem
    assert authority.parent.stat().st_mode & 0o077 == 0
    assert make_url(settings.operational_database_url).query["ssl_ca"] == str(authority)
    for wrong in ("", "no certificate", (tmp_path / "key.pem").read_text()):
        monkeypatch.setenv("EXCHANGE_PLATFORM_DATABASE_CA", wrong)
        with pytest.raises(InvalidSettings, match="database_ca is no PEM of certificates"):
            load_settings()


def test_certificates_that_are_not_there_are_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    (tmp_path / "nonsense.pem").write_text("-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n")
    for name, said in (
        ("missing.pem", "are not there"),
        ("empty.pem", "empty.pem"),
        ("nonsense.pem", "no certificates can be read"),
    ):
        settings = Settings(
            database_url="mysql+pymysql://e:p@127.0.0.1:1/x",
            database_tls="verified",
            database_ca_file=tmp_path / name,
        )
        with (
            pytest.raises(StoreUnavailable, match=f"{said}.*DATABASE_CA_FILE"),
            Database(settings.operational_database_url).read(),
        ):
            pass


# --- against servers


@contextmanager
def at_another_name(port: int) -> Iterator[str]:
    """The server at an address that its certificate does not name."""
    with closing(socket.create_server(("127.0.0.2", port))) as listening:
        threading.Thread(target=_forward, args=(listening, port), daemon=True).start()
        yield "127.0.0.2"


def _forward(listening: socket.socket, port: int) -> None:
    while True:
        try:
            inside, _ = listening.accept()
        except OSError:
            return
        outside = socket.create_connection(("127.0.0.1", port))
        for one, other in ((inside, outside), (outside, inside)):
            threading.Thread(target=_copy, args=(one, other), daemon=True).start()


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def _ca(variable: str) -> Path:
    if variable not in os.environ:
        pytest.skip(f"no certificate of the server's: {variable} is not set (.ci/run makes one)")
    return Path(os.environ[variable])


def _mysql(settings: Settings) -> None:
    with closing(_Disposed(Database(settings.operational_database_url))) as held, held.database.read() as one:
        assert one.exec_driver_sql("SHOW STATUS LIKE 'Ssl_cipher'").one()[1]


class _Disposed:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.close = database.dispose


def _lake(settings: Settings) -> None:
    with closing(Lake.from_settings(settings)) as lake:
        lake.migrate()


@pytest.mark.servers
def test_mysql_with_another_authority_or_name_is_refused(mysql_url: str, tmp_path: Path) -> None:
    own, url = _ca("EXCHANGE_PLATFORM_TEST_MYSQL_CA_FILE"), make_url(mysql_url)
    assert url.port is not None

    def settings(host: str, ca: Path) -> Settings:
        there = url.set(host=host).render_as_string(hide_password=False)
        return Settings(database_url=there, database_tls="verified", database_ca_file=ca)

    _mysql(settings("127.0.0.1", own))
    with at_another_name(url.port) as elsewhere:
        for host, ca in ((elsewhere, own), ("127.0.0.1", Certificate(tmp_path).file)):
            with pytest.raises(StoreUnavailable, match=r"certificate verify failed.*DATABASE_CA_FILE"):
                _mysql(settings(host, ca))
        # By default no authority but the public ones is believed: as for any server elsewhere, whose
        # certificate is its own.
        public = settings("127.0.0.1", Path(PUBLIC))
        with pytest.raises(StoreUnavailable, match=r"self.signed certificate.*DATABASE_CA_FILE"):
            _mysql(public)


@pytest.mark.servers
def test_postgresql_with_another_authority_or_name_is_refused(tmp_path: Path) -> None:
    server, own = Postgres.of_environment(), _ca("EXCHANGE_PLATFORM_TEST_POSTGRES_CA_FILE")
    database = server.new_database()

    def settings(host: str, ca: Path) -> Settings:
        return Settings(
            data_dir=tmp_path,
            lake_catalog=f"postgres:host={host} port={server.port} user={server.user} dbname={database}",
            dagster_host=host,
            dagster_port=int(server.port),
            dagster_user=server.user,
            dagster_database=database,
            database_tls="verified",
            database_ca_file=ca,
        )

    believed = settings("127.0.0.1", own)
    _lake(believed)
    assert dagster_answers(believed)
    other = Certificate(tmp_path).file
    with at_another_name(int(server.port)) as elsewhere:
        for host, ca, said in (
            (elsewhere, own, "does not match host name"),
            ("127.0.0.1", other, "certificate verify failed"),
            ("127.0.0.1", Path(PUBLIC), "certificate verify failed"),
            ("127.0.0.1", tmp_path / "missing.pem", "root certificate file"),
        ):
            refused = settings(host, ca)
            for reach in (_lake, dagster_answers):
                with pytest.raises(StoreUnavailable, match=f"(?s){said}.*DATABASE_CA_FILE"):
                    reach(refused)
            with pytest.raises(psycopg2.OperationalError, match=said):
                passwords._log_in_to_catalog(refused.lake_catalog_string.partition(":")[2])
