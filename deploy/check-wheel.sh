#!/usr/bin/env bash
# Build the wheel and use it in an environment that has the dependencies but not the source tree.
# The `python` and `pip` that come first in PATH are those of an environment that has both (deploy/test.sh's).
set -euo pipefail

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
site_packages() { "$1" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }

python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$work" "$here"
python -m venv --without-pip "$work/venv"
clean=$work/venv/bin
# A folder named in a .pth file lends its packages but not its own .pth files, so the editable installation
# of the other environment stays out of sight.
site_packages python >"$(site_packages "$clean/python")/dependencies.pth"
python -m pip --python "$clean/python" install --quiet --disable-pip-version-check --no-deps "$work"/vire_edge-*.whl

cd "$work"
"$clean/python" -I - "$work" <<'PYTHON'
import sys
from pathlib import Path

import vire_edge

package = Path(vire_edge.__file__).resolve().parent
if Path(sys.argv[1]).resolve() not in package.parents:
    sys.exit(f"vire_edge comes from {package}, not from the wheel")
models = sorted(path.name for path in (package / "models").glob("*.onnx"))
if not models:
    sys.exit(f"the wheel holds no model: {package / 'models'} has no .onnx file")
print(f"vire_edge {vire_edge.__version__} from the wheel, with {', '.join(models)}")
PYTHON
"$clean/vire-edge" --version
"$clean/vire-edge" check-config "$here/deploy/config.example.toml"
