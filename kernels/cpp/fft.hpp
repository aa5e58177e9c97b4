// Complex FFT of any length: mixed radix, Cooley & Tukey 1965, recursive decimation in time.
// O(n sum(factors)); all memory is taken at construction. Double precision.
namespace headway::HEADWAY_ISA {

class Fft {
 public:
  using Cplx = std::complex<double>;

  explicit Fft(int n) : n_(n), twiddle_(n) {
    const double tau = 6.283185307179586476925286766559;
    for (int i = 0; i < n; ++i) twiddle_[i] = std::polar(1.0, -tau * i / n);
    int largest = 1;
    for (int rest = n, p = 4; rest > 1;) {
      if (rest % p) {
        p = p == 4 ? 2 : p == 2 ? 3 : p + 2;
        if (p * p > rest) p = rest % 2 ? rest : p;
        continue;
      }
      factors_.push_back(p);
      rest /= p;
      largest = p > largest ? p : largest;
    }
    scratch_.resize(largest);
  }

  // out[k] = sum_i in[i] exp(-2 pi j i k / n); `in` and `out` hold n each and do not overlap.
  void run(const Cplx* in, Cplx* out) { step(in, out, n_, 1, factors_.data()); }

 private:
  void step(const Cplx* in, Cplx* out, int n, int stride, const int* factor) {
    if (n == 1) {
      *out = *in;
      return;
    }
    const int p = *factor, m = n / p;
    if (m == 1)
      for (int q = 0; q < p; ++q) out[q] = in[q * stride];
    else
      for (int q = 0; q < p; ++q) step(in + q * stride, out + q * m, m, stride * p, factor + 1);
    for (int u = 0; u < m; ++u) {
      if (p == 4) {
        four(out + u, m, stride * u);
        continue;
      }
      for (int q = 0; q < p; ++q) scratch_[q] = out[u + q * m];
      for (int k = u; k < n; k += m) {
        Cplx sum = scratch_[0];
        const long turn = long(stride) * k;
        for (int q = 1; q < p; ++q) sum += mul(scratch_[q], twiddle_[(turn * q) % n_]);
        out[k] = sum;
      }
    }
  }

  void four(Cplx* x, int m, int turn) const {
    const Cplx a = x[0], b = mul(x[m], twiddle_[turn]);
    const Cplx c = mul(x[2 * m], twiddle_[2 * turn]), d = mul(x[3 * m], twiddle_[3 * turn]);
    const Cplx s = a + c, t = a - c, v = b + d;
    const Cplx w(b.imag() - d.imag(), d.real() - b.real());  // -j (b - d)
    x[0] = s + v;
    x[m] = t + w;
    x[2 * m] = s - v;
    x[3 * m] = t - w;
  }

  // operator* of std::complex also handles infinities, which never come here
  static Cplx mul(Cplx a, Cplx b) {
    return {a.real() * b.real() - a.imag() * b.imag(), a.real() * b.imag() + a.imag() * b.real()};
  }

  int n_;
  std::vector<Cplx> twiddle_, scratch_;
  std::vector<int> factors_;
};

}  // namespace headway::HEADWAY_ISA
