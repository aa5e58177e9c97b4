// The twin of edge/guard/brake.py, operation for operation: see there for what it does and why.
// Python's integers are 64 bits wide here, which is enough: they count the ticks of a stop.
#pragma once
#include <algorithm>
#include <cmath>

namespace headway {

using Int = long long;

inline double release_velocity(double v, double a, double h, double T) {
  const double b = std::fabs(a);
  const Int m = static_cast<Int>(b / h);
  return m ? v + std::copysign(T * m * (b - 0.5 * h * (m + 1)), a) : v;
}

struct Stop {
  double a_max, h, T;
  Int n = 0, n1 = 0, n2 = 0, n3 = 0;
  double lam = 0.0, a = 0.0, sign = 1.0;

  Stop(double a_max, double h, double T) : a_max(a_max), h(h), T(T) {}

  double area_of(Int n, double a) {
    const double A = a_max;
    n1 = std::max<Int>(0, static_cast<Int>(std::floor((A + a) / h)));
    n3 = static_cast<Int>(A / h) + 1;
    if (n1 + n3 > n) {
      n1 = std::min(n, std::max<Int>(0, static_cast<Int>(std::floor(0.5 * (n + a / h)))));
      n3 = n - n1;
    }
    n2 = n - n1 - n3;
    return n1 * (0.5 * h * (n1 + 1) - a) + A * n2 + 0.5 * h * n3 * (n3 - 1);
  }

  double plan(double v, double a) {
    const double A = a_max;
    double left = release_velocity(v, a, h, T);
    const double s = sign = left >= 0.0 ? 1.0 : -1.0;
    v = s * v, a = s * a, left = s * left;
    this->a = a;
    const double b = std::fabs(a);
    const Int m = static_cast<Int>(b / h);
    n = m * h >= b ? m : m + 1;
    if (left <= 1e-15) {
      lam = 0.0;
      n1 = n2 = n3 = 0;
    } else {
      const double want = v / T;
      double area = want - 0.5 * a;
      const double p = std::sqrt(std::max(0.0, h * area + 0.5 * a * a));
      double guess;
      if (p <= A)
        guess = (a + 2.0 * p) / h;
      else
        guess = (a + 2.0 * A) / h + (area - (A * A - 0.5 * a * a) / h) / A;
      n = std::max(n, static_cast<Int>(guess) - 1);
      area = area_of(n, a);
      while (area < want) {
        n += 1;
        area = area_of(n, a);
      }
      lam = std::min(1.0, left / T / (area - (v - left) / T));
    }
    const Int N1 = n + 1;
    const double hard = N1 * n1 * (0.5 * h * (n1 + 1) - a) -
                        n1 * (n1 + 1) * (h * (2 * n1 + 1) / 6.0 - 0.5 * a) +
                        A * n2 * (N1 - n1 - 0.5 * (n2 + 1)) + h * (n3 - 1) * n3 * (n3 + 1) / 3.0;
    double soft =
        N1 * m * (b - 0.5 * h * (m + 1)) - m * (m + 1) * (0.5 * b - h * (2 * m + 1) / 6.0);
    soft = std::copysign(soft, -a);
    return s * T * (n * v - T * (lam * hard + (1.0 - lam) * soft));
  }

  double at(Int i) const {
    if (i >= n) return 0.0;
    const double hard = std::max(std::max(a - i * h, (i - n) * h), -a_max);
    const double soft = std::copysign(std::max(std::fabs(a) - i * h, 0.0), a);
    return sign * (lam * hard + (1.0 - lam) * soft);
  }

  double backswing(double v) const {
    v *= sign;
    double x = 0.0;
    Int i = 0;
    while (v < 0.0 && i < n) {
      i += 1;
      v += T * sign * at(i);
      x += std::min(v, 0.0) * T;
    }
    return sign * x;
  }
};

}  // namespace headway
