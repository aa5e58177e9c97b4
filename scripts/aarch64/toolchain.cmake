# CMake's toolchain file for arm64 Linux with the cross compilers of Debian and Ubuntu
# (g++-aarch64-linux-gnu), which bring their own headers and libraries: no sysroot is needed. The
# headers of Python are those of the Python that builds: what differs in pyconfig.h between x86-64
# and arm64 Linux (both 64 bits, little-endian) is used by Python's own sources alone.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
