/* An empty library whose SONAME is libtorch.so: the real one holds nothing either, but pulls in the CUDA libraries. The
 * backend carries its bytes and loads it before the first pt2 package. */
extern const int athanor_libtorch_stub_marker;
const int athanor_libtorch_stub_marker = 1;
