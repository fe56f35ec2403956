"""What the Dockerfile and the Kubernetes example say holds for the package and for a server that runs."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from served import running

from ocr_onnx.cli.main import main
from ocr_onnx.cli.serve import serve
from ocr_onnx.errors import OptionError
from ocr_onnx.inputs.fonts import PACKAGES
from ocr_onnx.models.store import HOME_VARIABLE
from ocr_onnx.service import keys
from ocr_onnx.service.settings import Settings

ROOT = Path(__file__).parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
PROJECT, BUILD = PYPROJECT["project"], PYPROJECT["build-system"]
EXTRAS = {"cpu", "pdf", "serve"}
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
UNIT = (ROOT / "deploy" / "ocr-onnx.service").read_text("utf-8")
PAGE = (ROOT / "docs" / "deploying.md").read_text("utf-8")
OBJECTS = {o["kind"]: o for o in yaml.safe_load_all((ROOT / "deploy" / "kubernetes.yaml").read_text("utf-8"))}
POD: dict[str, Any] = OBJECTS["Deployment"]["spec"]["template"]["spec"]
CONTAINER: dict[str, Any] = POD["containers"][0]


def instructions(name: str) -> list[str]:
    """What follows an instruction's name, each time."""
    return re.findall(rf"^{name} (.*)$", DOCKERFILE, re.MULTILINE)


def health_check(port: int) -> subprocess.CompletedProcess[str]:
    command = json.loads(instructions("HEALTHCHECK")[0].partition(" CMD ")[2])
    assert command[0] == "python"
    moved = [part.replace("8080", str(port)) for part in command[1:]]
    return subprocess.run([sys.executable, *moved], capture_output=True, text=True, check=False)


def test_the_image_has_a_python_that_the_package_supports() -> None:
    version = re.findall(r"[\d.]+", instructions("ARG")[0])[0]
    assert SpecifierSet(PROJECT["requires-python"]).contains(version)


def test_the_image_is_installed_with_extras_and_fonts_that_exist() -> None:
    extras = re.findall(r'"\.\[(.*)\]"', " ".join(instructions("RUN")))[0].split(",")
    assert set(extras) == EXTRAS <= PROJECT["optional-dependencies"].keys()
    font, digest = re.findall(r'FONTS="(.*)"', DOCKERFILE)[0].split()
    assert font.partition("==")[0] in PACKAGES.values()
    assert digest.startswith("--hash=sha256:")


@pytest.mark.parametrize(
    ("lock", "wanted"),
    [
        (
            "requirements.lock",
            [*PROJECT["dependencies"], *(d for e in EXTRAS for d in PROJECT["optional-dependencies"][e])],
        ),
        ("build.lock", BUILD["requires"]),
    ],
)
def test_every_package_of_the_image_is_pinned_by_hashes_and_fits_the_project(lock: str, wanted: list[str]) -> None:
    text = (ROOT / "deploy" / lock).read_text("utf-8")
    parts = re.split(r"^(?=[a-z])", text, flags=re.MULTILINE)[1:]
    assert all("--hash=sha256:" in part for part in parts)
    pinned = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text, re.MULTILINE))
    assert len(pinned) == len(parts)
    for requirement in map(Requirement, wanted):
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)])
    assert not re.search(r"https?://|--index|--find-links|--trusted", text)
    assert f"--require-hashes -r deploy/{lock}" in DOCKERFILE


def test_the_image_is_named_by_its_full_version_and_works_where_it_cannot_write() -> None:
    assert re.fullmatch(r"PYTHON=\d+\.\d+\.\d+-slim-bookworm", instructions("ARG")[0])
    assert instructions("WORKDIR")[-1] == "/"


def test_the_image_does_not_run_as_root() -> None:
    user, group = map(int, instructions("USER")[-1].split(":"))
    assert user > 0
    assert group > 0
    assert (user, group) == (POD["securityContext"]["runAsUser"], POD["securityContext"]["runAsGroup"])


def test_the_files_copied_into_the_image_exist_and_are_not_ignored() -> None:
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    taken = {line[1:] for line in lines if line.startswith("!")}
    copied = {word for line in instructions("COPY") if "--from" not in line for word in line.split()[:-1]}
    assert copied == taken
    assert all((ROOT / name).exists() for name in copied)


def test_what_the_build_of_the_package_needs_is_copied() -> None:
    files = ["README.md", *PROJECT["license-files"], "pyproject.toml", "model_zoo.yaml", "ocr_onnx"]
    copied = " ".join(instructions("COPY")).split()
    assert all(any(fnmatch(file, name) for name in copied) for file in files)


def test_the_health_check_passes_for_a_server_that_runs_and_fails_without() -> None:
    with running() as server:
        assert health_check(server.port).returncode == 0
    assert health_check(server.port).returncode == 1


@pytest.mark.parametrize("text", [DOCKERFILE, PAGE], ids=["Dockerfile", "deploying.md"])
def test_the_folder_of_models_is_named_as_the_package_reads_it(text: str) -> None:
    assert f"{HOME_VARIABLE}=/models" in text


def test_the_commands_have_options_that_serve_takes() -> None:
    known = {option for parameter in serve.params for option in parameter.opts}
    image = json.loads(instructions("CMD")[0])
    unit = shlex.split(re.findall(r"^ExecStart=\S+ (.*)$", UNIT, re.MULTILINE)[0])
    for words in (image, unit, CONTAINER["args"], *map(shlex.split, re.findall(r"ocr-onnx (serve .*)", PAGE))):
        assert words[0] == "serve"
        assert {word for word in words if word.startswith("--")} <= known
    assert CliRunner().invoke(main, ["serve", "--help"]).exit_code == 0


def test_the_pod_has_time_to_finish_accepted_requests() -> None:
    options = dict(zip(CONTAINER["args"], CONTAINER["args"][1:], strict=False))
    sleep = int(CONTAINER["lifecycle"]["preStop"]["exec"]["command"][1])
    needed = sleep + float(options["--deadline"]) + float(options["--transfer-timeout"])
    assert needed < POD["terminationGracePeriodSeconds"]


def test_the_systemd_unit_and_the_container_have_time_to_finish_accepted_requests() -> None:
    needed = Settings().deadline + Settings().transfer_timeout
    for text, pattern in ((UNIT, r"TimeoutStopSec=(\d+)"), (PAGE, r"--stop-timeout (\d+)")):
        (seconds,) = re.findall(pattern, text)
        assert int(seconds) > needed


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_understands_its_unit(tmp_path: Path) -> None:
    unit = tmp_path / "ocr-onnx.service"
    unit.write_text(UNIT.replace("/opt/ocr-onnx/bin/ocr-onnx", sys.executable))
    checked = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize(
    "line",
    [
        *("DynamicUser=yes", "NoNewPrivileges=yes", "ProtectSystem=strict", "PrivateTmp=yes", "KillMode=control-group"),
        *("MemoryMax=6G", "TasksMax=512", "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX", "CapabilityBoundingSet="),
    ],
)
def test_the_systemd_unit_drops_unneeded_permissions(line: str) -> None:
    assert line in UNIT.splitlines()
    assert "SystemCallFilter=@system-service " in UNIT


def test_the_container_example_bounds_processes_and_memory_and_keeps_its_keys_to_itself() -> None:
    assert {"--pids-limit", "--memory", "--memory-swap", "--read-only"} <= set(PAGE.split())
    user = instructions("USER")[-1].partition(":")[0]
    assert f"chown {user} keys.txt; sudo chmod 400 keys.txt" in PAGE


def test_the_pod_drops_unneeded_permissions() -> None:
    allowed = CONTAINER["securityContext"]
    assert allowed["readOnlyRootFilesystem"]
    assert allowed["capabilities"] == {"drop": ["ALL"]}
    assert allowed["allowPrivilegeEscalation"] is False
    assert POD["securityContext"]["runAsNonRoot"]
    assert POD["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert POD["automountServiceAccountToken"] is False
    assert OBJECTS["NetworkPolicy"]["spec"]["egress"] == []


def test_the_kubernetes_objects_refer_to_each_other() -> None:
    labels = OBJECTS["Deployment"]["spec"]["template"]["metadata"]["labels"]
    for selector in (
        OBJECTS["Deployment"]["spec"]["selector"]["matchLabels"],
        OBJECTS["Service"]["spec"]["selector"],
        OBJECTS["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
    ):
        assert selector == labels
    ports = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
    assert ports == {OBJECTS["Service"]["spec"]["ports"][0]["targetPort"]: Settings().port}
    mounts = {mount["name"]: Path(mount["mountPath"]) for mount in CONTAINER["volumeMounts"]}
    assert mounts.keys() == {volume["name"] for volume in POD["volumes"]}
    secret = OBJECTS["Secret"]
    assert POD["volumes"][1]["secret"]["secretName"] == secret["metadata"]["name"]
    assert CONTAINER["args"][CONTAINER["args"].index("--api-key-file") + 1] in {
        str(mounts["keys"] / name) for name in secret["stringData"]
    }


def test_the_probes_use_routes_of_the_server() -> None:
    with running() as server:
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert server.get(CONTAINER[probe]["httpGet"]["path"]).status_code == 200


def test_the_example_key_of_the_secret_is_refused_and_a_key_in_its_place_is_taken(tmp_path: Path) -> None:
    example = OBJECTS["Secret"]["stringData"]["keys.txt"]
    file = tmp_path / "keys.txt"
    file.write_text(example)
    with pytest.raises(OptionError, match=r"keys\.txt.*'replace-this-key-before-use'.*openssl rand -hex 32"):
        keys.load(file)
    file.write_text(example.replace("replace-this-key-before-use", "0123456789abcdef" * 4))
    assert keys.load(file) == ("0123456789abcdef" * 4,)
