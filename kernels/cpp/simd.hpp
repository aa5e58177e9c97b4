// Four doubles at a time. Only element-wise operations, and without fused multiply-add, so that the
// result has the same bits with AVX2, SSE2 or NEON.
namespace headway::HEADWAY_ISA {

// The alignment is spelt out: without it, it would be 16 where AVX is off and 32 where it is on, and
// the layout of what holds a v4 must not depend on the flags.
typedef double v4 __attribute__((vector_size(32), aligned(32)));
typedef long long m4 __attribute__((vector_size(32), aligned(32)));
struct Holder {
  char c;
  v4 v;
};
static_assert(alignof(Holder) == 32 && sizeof(Holder) == 64);

inline v4 load(const double* p) {
  v4 v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline void store(double* p, v4 v) { std::memcpy(p, &v, sizeof v); }
inline v4 all(double x) { return v4{x, x, x, x}; }
inline v4 larger(v4 a, v4 b) { return a > b ? a : b; }
inline v4 smaller(v4 a, v4 b) { return a < b ? a : b; }
inline double sum(v4 v) { return (v[0] + v[1]) + (v[2] + v[3]); }
inline int padded(int lanes) { return (lanes + 3) / 4 * 4; }

}  // namespace headway::HEADWAY_ISA
