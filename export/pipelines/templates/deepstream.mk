# make [DEEPSTREAM=/opt/nvidia/deepstream/deepstream] [CUDA=/usr/local/cuda]
DEEPSTREAM ?= /opt/nvidia/deepstream/deepstream
CUDA ?= /usr/local/cuda
CXX ?= g++
CXXFLAGS ?= -O2

# Without -ffp-contract=off, compilers for arm64 fuse multiplications and additions, and boxes whose overlap lies at
# the threshold fall otherwise than they did where the graph was judged.
libedgedet_parser.so: edgedet_parser.cpp edgedet_card.h
	$(CXX) -std=c++17 $(CXXFLAGS) -Wall -Wextra -ffp-contract=off -fPIC -shared -o $@ $< \
	    -isystem $(DEEPSTREAM)/sources/includes -isystem $(CUDA)/include

.PHONY: clean
clean:
	rm -f libedgedet_parser.so
