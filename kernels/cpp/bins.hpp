// The bins of an L-point spectrum: twiddles, and which energies each bin counts for.
namespace headway::HEADWAY_ISA {

class Bins {
 public:
  Bins(double rate, const Windows& w)
      : L(w.longer), turn_(2 * std::size_t(L)), weight_(4 * (std::size_t(L) / 2 + 1)) {
    for (int i = 0; i < L; ++i) {
      const double angle = 6.283185307179586476925286766559 * i / L;
      turn_[2 * i] = std::cos(angle);
      turn_[2 * i + 1] = std::sin(angle);
    }
    for (int k = 1; k <= L / 2; ++k) {
      const double hz = k * (rate / L), p = side(k) / (double(L) * L);
      double* w4 = &weight_[4 * k];
      w4[0] = p;
      w4[1] = p * hz;
      w4[2] = hz <= spec::lf_hz ? p : 0.0;
      w4[3] = hz >= w.lo && hz <= w.hi ? p : 0.0;
      if (hz <= spec::motion_hf_hz) low_joint = k;
    }
  }

  double cosine(int i) const { return turn_[2 * i]; }
  double sine(int i) const { return turn_[2 * i + 1]; }
  const double* turns() const { return turn_.data(); }

  // How often bin k counts in a one-sided spectrum: twice but at half the rate.
  double side(int k) const { return 2 * k == L ? 1.0 : 2.0; }

  // Energies of the three forces: `add` the power of every bin from 1 to L / 2, in order.
  void begin() { sum_[0] = sum_[1] = all(0.0); }
  void add(int k, double power) { sum_[k & 1] += all(power) * load(&weight_[4 * k]); }
  void end(Summary& s) const {
    const v4 e = sum_[0] + sum_[1];
    s.force_all = e[0];
    s.force_hz = e[1];
    s.force_low = e[2];
    s.force_band = e[3];
  }

  const int L;
  int low_joint = 0;  // the last bin that is not above motion_hf_hz

 private:
  Lanes turn_, weight_;  // (L, cos sin); (L / 2 + 1, all hz low band)
  v4 sum_[2];
};

}  // namespace headway::HEADWAY_ISA
