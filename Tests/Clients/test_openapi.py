"""The contract in openapi.txt is valid, and the server keeps it."""

import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from openapi_spec_validator import OpenAPIV31SpecValidator

from conftest import LOGS, ROOT, herald_environment
from helpers import PATIENCE, unique_topic

CONTRACT = ROOT / "openapi.txt"


def test_the_contract_is_valid_openapi_3_1():
    document = yaml.safe_load(CONTRACT.read_text(encoding="utf-8"))
    assert document["openapi"].startswith("3.1.")
    errors = [str(error)[:500] for error in OpenAPIV31SpecValidator(document).iter_errors()]
    assert not errors, "\n".join(errors)


def test_the_server_serves_the_contract_of_the_repository(server):
    answer = server.client.get("/openapi.txt")
    assert answer.headers["content-type"].split(";")[0] == "application/yaml"
    assert answer.text == CONTRACT.read_text(encoding="utf-8")


def test_every_path_of_the_contract_is_known_to_the_server(server):
    document = yaml.safe_load(CONTRACT.read_text(encoding="utf-8"))
    topic = unique_topic()
    server.publish(topic)
    for path, item in document["paths"].items():
        concrete = path
        for name, value in (("{topic}", topic), ("{filter}", topic), ("{module}", "lab.js")):
            concrete = concrete.replace(name, value)
        methods = {method.upper() for method in item} & {"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"}
        answer = server.client.options(concrete)
        assert answer.status_code == 204, (path, answer.status_code)
        allowed = {each.strip() for each in answer.headers["allow"].split(",")}
        assert methods <= allowed, (path, methods, allowed)


def test_schemathesis_finds_no_answer_outside_the_contract(server_factory):
    server = server_factory("--max-wait", "1s", "--max-body", "64KiB")
    program = shutil.which("schemathesis", path=str(Path(sys.executable).parent))
    assert program, "schemathesis is missing in the environment of the tests"
    report = LOGS / "schemathesis.xml"
    command = [
        program, "run", str(CONTRACT), "--url", server.url,
        "--phases", "examples,coverage,fuzzing",
        "--max-examples", "40", "--seed", "1", "--max-time", "60", "--workers", "1",
        "--request-timeout", "10",
        "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,"
                    "response_headers_conformance,response_schema_conformance,allow_header_conformance",
        "--suppress-health-check", "all", "--no-shrink", "--no-color", "--warnings", "off",
        "--report", "junit", "--report-junit-path", str(report),
    ]  # fmt: skip
    result = subprocess.run(
        command,
        cwd=LOGS,
        env=herald_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE * 10,
    )
    assert result.returncode == 0, result.stdout[-8000:] + result.stderr[-2000:]
    assert server.client.get("/healthz").status_code == 200
