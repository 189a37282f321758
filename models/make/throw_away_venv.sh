# For the scripts beside it, which source it: makes a Python environment that is removed with its folder.

# make_venv FOLDER REQUIREMENT...   PYTHON3 names the interpreter to make it from (default python3).
make_venv() {
  local folder=$1 python=${PYTHON3:-python3}
  shift
  if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "$python is older than Python 3.11 or missing. Install a newer one, or name it in PYTHON3." >&2
    return 1
  fi
  "$python" -m venv "$folder"
  "$folder/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
}
