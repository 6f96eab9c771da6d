# Sourced: llamacpp_install VENV puts llama-cpp-python from PyPI into VENV, unless it is there.
llamacpp_version=0.3.36

llamacpp_install() {
    "$1/bin/python" -c 'import llama_cpp' 2>/dev/null && return
    echo "installing llama-cpp-python $llamacpp_version into $1 (about five minutes)" >&2
    command -v clang-16 >/dev/null || { echo "clang-16 is missing: apt install clang-16" >&2; exit 3; }
    python3 -m venv "$1"
    # GCC 12 gets its AMX code wrong: a native build by it crashes on quantised files.
    CC=clang-16 CXX=clang++-16 CMAKE_ARGS=-DGGML_NATIVE=ON \
        "$1/bin/pip" install --quiet "llama-cpp-python==$llamacpp_version"
}
