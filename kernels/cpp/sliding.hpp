// Statistics over the last L samples, O(1) per sample and without subtraction.
//
// The window is cut where a block of L samples ended: what it still holds of that block is a suffix,
// whose statistics were all made when the block was complete, and what came since is a prefix that
// grows by one (van Herk 1992; Gil & Werman 1993). Nothing is ever taken out of a sum, so nothing
// cancels, drifts or outlives the window. Making the suffixes is O(L) once in L samples; blocks of
// different channels end at different ticks, so that no tick pays for two.
// One buffer serves both: at place p it holds the samples of this block before p, and the suffixes
// of the block before from p on.
namespace headway::HEADWAY_ISA {

inline constexpr double LOWEST = -std::numeric_limits<double>::infinity();

// Sum, sum weighted by place, maximum of eight channels, and of each sum of squares or, where `Low`,
// its minimum.
template <bool Low>
class Sums {
 public:
  Sums() = default;
  Sums(int length, int start) : L(length), start_(start), table_(std::size_t(length) * ROW) {}

  void reset() {
    table_.clear();
    p_ = first_ = start_;
    clear(sum_, place_, top_, other_);
    for (int p = 0; p < L; ++p)  // nothing lies before: suffixes of nothing
      for (int h = 0; h < 2; ++h) {
        store(at(p) + 16 + 4 * h, top_[h]);
        store(at(p) + 24 + 4 * h, other_[h]);
      }
  }

  void push(const double* x8) {
    double* row = at(p_);
    for (int h = 0; h < 2; ++h) {
      const v4 x = load(x8 + 4 * h);
      sum_[h] += x;
      place_[h] += all(p_) * x;
      top_[h] = larger(x, top_[h]);
      other_[h] = Low ? smaller(x, other_[h]) : other_[h] + x * x;
      store(row + 4 * h, x);
    }
    if (++p_ == L) turn();
  }

  // Of the last m samples: sum, sum of x (t - mean t) [ticks], maximum, sum of squares or minimum.
  void read(int m, double* sum, double* slope, double* top, double* other) const {
    const double* row = at(p_);
    const int begin = p_ + L - m;  // of the window, counted from the start of the block before
    for (int h = 0; h < 2; ++h) {
      const v4 a = load(row + 4 * h), whole = a + sum_[h];
      const v4 from_begin = (load(row + 8 + 4 * h) - all(begin) * a) +
                            (place_[h] + all(L - begin) * sum_[h]);
      const v4 before = load(row + 24 + 4 * h);
      store(sum + 4 * h, whole);
      store(slope + 4 * h, from_begin - all(0.5 * (m - 1)) * whole);
      store(top + 4 * h, larger(load(row + 16 + 4 * h), top_[h]));
      store(other + 4 * h, Low ? smaller(before, other_[h]) : before + other_[h]);
    }
  }

 private:
  static constexpr int ROW = 32;
  double* at(int p) { return table_.data() + std::size_t(p) * ROW; }
  const double* at(int p) const { return table_.data() + std::size_t(p) * ROW; }

  static void clear(v4* sum, v4* place, v4* top, v4* other) {
    for (int h = 0; h < 2; ++h) {
      sum[h] = place[h] = all(0.0);
      top[h] = all(LOWEST);
      other[h] = all(Low ? -LOWEST : 0.0);
    }
  }

  void turn() {
    v4 sum[2], place[2], top[2], other[2];
    clear(sum, place, top, other);
    for (int p = L - 1; p >= 0; --p) {
      double* row = at(p);
      for (int h = 0; h < 2; ++h) {
        const v4 x = load(row + 4 * h);
        sum[h] += x;
        place[h] += all(p) * x;
        top[h] = p < first_ ? top[h] : larger(x, top[h]);
        if (Low)
          other[h] = p < first_ ? other[h] : smaller(x, other[h]);
        else
          other[h] += x * x;
        store(row + 4 * h, sum[h]);
        store(row + 8 + 4 * h, place[h]);
        store(row + 16 + 4 * h, top[h]);
        store(row + 24 + 4 * h, other[h]);
      }
    }
    p_ = first_ = 0;
    clear(sum_, place_, top_, other_);
  }

  int L = 0, start_ = 0, p_ = 0, first_ = 0;
  Lanes table_;  // (L, 4 statistics, 8)
  v4 sum_[2], place_[2], top_[2], other_[2];
};

// Sum of squares of sixteen channels over the last S samples.
class Squares {
 public:
  explicit Squares(int length) : S(length), table_(std::size_t(length) * 16) {}

  void reset() {
    table_.clear();
    p_ = 0;
    clear();
  }

  void push(const double* x16) {
    double* row = table_.data() + std::size_t(p_) * 16;
    for (int h = 0; h < 4; ++h) {
      const v4 x = load(x16 + 4 * h), x2 = x * x;
      sum_[h] += x2;
      store(row + 4 * h, x2);
    }
    if (++p_ < S) return;
    clear();
    for (p_ = S - 1; p_ > 0; --p_, row -= 16) turn(row);
    turn(row);
    clear();
  }

  void read(double* out16) const {
    const double* row = table_.data() + std::size_t(p_) * 16;
    for (int h = 0; h < 4; ++h) store(out16 + 4 * h, load(row + 4 * h) + sum_[h]);
  }

 private:
  void clear() {
    for (v4& s : sum_) s = all(0.0);
  }

  void turn(double* row) {
    for (int h = 0; h < 4; ++h) {
      sum_[h] += load(row + 4 * h);
      store(row + 4 * h, sum_[h]);
    }
  }

  int S, p_ = 0;
  Lanes table_;  // (S, 16)
  v4 sum_[4];
};

// Central moments 2, 3 and 4 of four channels. Every part keeps moments about its own mean, and
// parts are joined by the formulas of Pebay (Sandia SAND2008-6212, 2008): no power of a large load
// is ever subtracted from another.
class Moments {
 public:
  struct Part {
    double n = 0;
    v4 mean, m2, m3, m4;  // sums of powers of (x - mean)
  };

  Moments(int length, int start)
      : L(length), start_(start), table_(std::size_t(length) * 16), per_(length + 1) {
    for (int i = 1; i <= length; ++i) per_[i] = 1.0 / i;
  }

  void reset() {
    table_.clear();
    p_ = first_ = start_;
    sum_ = none();
  }

  void push(v4 x) {
    add(sum_, x);
    store(at(p_), x);
    if (++p_ < L) return;
    Part s = none();
    for (int p = L - 1; p >= 0; --p) {
      double* row = at(p);
      if (p >= first_) add(s, load(row));
      store(row, s.mean);
      store(row + 4, s.m2);
      store(row + 8, s.m3);
      store(row + 12, s.m4);
    }
    p_ = first_ = 0;
    sum_ = none();
  }

  // Of the last m samples.
  Part read(int m) const {
    const double* row = at(p_);
    const Part& b = sum_;
    const double nb = b.n, na = m - nb, n = m;
    if (na == 0) return b;
    const v4 mean = load(row), a2 = load(row + 4), a3 = load(row + 8), a4 = load(row + 12);
    const v4 d = b.mean - mean, d2 = d * d;
    const double f = na * nb / n;
    Part out;
    out.n = n;
    out.mean = mean + d * all(nb / n);
    out.m2 = a2 + b.m2 + d2 * all(f);
    out.m3 = a3 + b.m3 + d2 * d * all(f * (na - nb) / n) +
             all(3.0 / n) * d * (all(na) * b.m2 - all(nb) * a2);
    out.m4 = a4 + b.m4 + d2 * d2 * all(f * (na * na - na * nb + nb * nb) / (n * n)) +
             all(6.0 / (n * n)) * d2 * (all(na * na) * b.m2 + all(nb * nb) * a2) +
             all(4.0 / n) * d * (all(na) * b.m3 - all(nb) * a3);
    return out;
  }

 private:
  double* at(int p) { return table_.data() + std::size_t(p) * 16; }
  const double* at(int p) const { return table_.data() + std::size_t(p) * 16; }
  static Part none() {
    const v4 z = all(0.0);
    return {0.0, z, z, z, z};
  }

  void add(Part& s, v4 x) const {
    const double n = s.n + 1;
    const v4 d = x - s.mean, dn = d * all(per_[int(n)]), dn2 = dn * dn, t = d * dn * all(s.n);
    s.mean += dn;
    s.m4 += t * dn2 * all(n * n - 3 * n + 3) + all(6.0) * dn2 * s.m2 - all(4.0) * dn * s.m3;
    s.m3 += t * dn * all(n - 2) - all(3.0) * dn * s.m2;
    s.m2 += t;
    s.n = n;
  }

  int L, start_, p_ = 0, first_ = 0;
  Lanes table_, per_;  // (L, mean m2 m3 m4, 4); (L + 1) 1 / i
  Part sum_;
};

// Sums of x^2, and of x^2 turned once and twice per window, of four channels: by Parseval, what the
// energy after a Hann window needs.
class Energies {
 public:
  Energies() = default;
  Energies(int length, int start)
      : L(length), start_(start), table_(std::size_t(length) * ROW) {}

  void reset() {
    table_.clear();
    p_ = start_;
    for (v4& s : sum_) s = all(0.0);
  }

  // `turns` (L, 2) are cos and sin of the bin 1; `a` is the tick modulo L.
  void push(v4 x, int a, const double* turns) {
    add(sum_, x * x, a, turns);
    store(table_.data() + std::size_t(p_) * ROW, x);
    if (++p_ < L) return;
    v4 s[5] = {all(0.0), all(0.0), all(0.0), all(0.0), all(0.0)};
    for (int p = L - 1; p >= 0; --p) {
      double* row = table_.data() + std::size_t(p) * ROW;
      const v4 y = load(row);
      add(s, y * y, a, turns);
      for (int i = 0; i < 5; ++i) store(row + 4 * i, s[i]);
      a = a ? a - 1 : L - 1;
    }
    p_ = 0;
    for (v4& e : sum_) e = all(0.0);
  }

  // sum x^2, sum x^2 cos, sum x^2 sin, and the last two at twice the angle
  void read(v4* out) const {
    const double* row = table_.data() + std::size_t(p_) * ROW;
    for (int i = 0; i < 5; ++i) out[i] = load(row + 4 * i) + sum_[i];
  }

 private:
  static constexpr int ROW = 20;

  void add(v4* s, v4 y, int a, const double* turns) const {
    const int b = 2 * a >= L ? 2 * a - L : 2 * a;
    s[0] += y;
    s[1] += y * all(turns[2 * a]);
    s[2] += y * all(turns[2 * a + 1]);
    s[3] += y * all(turns[2 * b]);
    s[4] += y * all(turns[2 * b + 1]);
  }

  int L = 0, start_ = 0, p_ = 0;
  Lanes table_;  // (L, 5, 4)
  v4 sum_[5];
};

}  // namespace headway::HEADWAY_ISA
