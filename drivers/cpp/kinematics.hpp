// The C++ twin of drivers/kinematics_python.py: rotations, and serial chains of standard
// Denavit-Hartenberg rows. Plain C++17, no Python; everything lies on the stack, so that a chain may
// be used from several threads at once. Lengths in m, angles in rad, quaternions wxyz, matrices
// row-major. Forward kinematics repeats the Python operations in their order; compile without fused
// multiply-add and it agrees to the last bit where the C library is the same.
#pragma once
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace headway {

inline constexpr int MAX_JOINTS = 16;

struct Frame {
  double r[9];  // rotation
  double p[3];  // origin
};

inline void mat_to_quat(const double* m, double* q) {
  const double trace = m[0] + m[4] + m[8];
  if (trace > 0) {
    const double s = 2 * std::sqrt(trace + 1);
    q[0] = s / 4, q[1] = (m[7] - m[5]) / s, q[2] = (m[2] - m[6]) / s, q[3] = (m[3] - m[1]) / s;
  } else if (m[0] > m[4] && m[0] > m[8]) {
    const double s = 2 * std::sqrt(1 + m[0] - m[4] - m[8]);
    q[0] = (m[7] - m[5]) / s, q[1] = s / 4, q[2] = (m[1] + m[3]) / s, q[3] = (m[2] + m[6]) / s;
  } else if (m[4] > m[8]) {
    const double s = 2 * std::sqrt(1 + m[4] - m[0] - m[8]);
    q[0] = (m[2] - m[6]) / s, q[1] = (m[1] + m[3]) / s, q[2] = s / 4, q[3] = (m[5] + m[7]) / s;
  } else {
    const double s = 2 * std::sqrt(1 + m[8] - m[0] - m[4]);
    q[0] = (m[3] - m[1]) / s, q[1] = (m[2] + m[6]) / s, q[2] = (m[5] + m[7]) / s, q[3] = s / 4;
  }
  if (!(q[0] >= 0))
    for (int i = 0; i < 4; ++i) q[i] = -q[i];
}

inline void rotvec_to_mat(const double* r, double* R) {
  const double angle = std::sqrt(r[0] * r[0] + r[1] * r[1] + r[2] * r[2]);
  if (angle < 1e-12) {
    for (int i = 0; i < 9; ++i) R[i] = i % 4 == 0;
    return;
  }
  const double x = r[0] / angle, y = r[1] / angle, z = r[2] / angle;
  const double s = std::sin(angle), c = 1 - std::cos(angle);
  // I + s K + c K^2
  R[0] = 1 - c * (y * y + z * z), R[1] = c * x * y - s * z, R[2] = c * x * z + s * y;
  R[3] = c * x * y + s * z, R[4] = 1 - c * (x * x + z * z), R[5] = c * y * z - s * x;
  R[6] = c * x * z - s * y, R[7] = c * y * z + s * x, R[8] = 1 - c * (x * x + y * y);
}

inline void mat_to_rotvec(const double* R, double* r) {
  double q[4];
  mat_to_quat(R, q);
  const double s = std::sqrt(q[1] * q[1] + q[2] * q[2] + q[3] * q[3]);
  const double k = s < 1e-12 ? 0.0 : 2 * std::atan2(s, q[0]) / s;
  for (int i = 0; i < 3; ++i) r[i] = k * q[i + 1];
}

// C = A B, or A B^T
inline void multiply(const double* A, const double* B, double* C) {
  for (int i = 0; i < 3; ++i)
    for (int j = 0; j < 3; ++j)
      C[3 * i + j] = A[3 * i] * B[j] + A[3 * i + 1] * B[3 + j] + A[3 * i + 2] * B[6 + j];
}
inline void multiply_transposed(const double* A, const double* B, double* C) {
  for (int i = 0; i < 3; ++i)
    for (int j = 0; j < 3; ++j)
      C[3 * i + j] = A[3 * i] * B[3 * j] + A[3 * i + 1] * B[3 * j + 1] + A[3 * i + 2] * B[3 * j + 2];
}

// x := A^-1 x for a symmetric positive definite A (6, 6), by Cholesky; A is overwritten.
inline void solve6(double (*A)[6], double* x) {
  for (int j = 0; j < 6; ++j) {
    for (int k = 0; k < j; ++k) A[j][j] -= A[j][k] * A[j][k];
    A[j][j] = std::sqrt(A[j][j]);
    for (int i = j + 1; i < 6; ++i) {
      for (int k = 0; k < j; ++k) A[i][j] -= A[i][k] * A[j][k];
      A[i][j] /= A[j][j];
    }
  }
  for (int i = 0; i < 6; ++i) {
    for (int k = 0; k < i; ++k) x[i] -= A[i][k] * x[k];
    x[i] /= A[i][i];
  }
  for (int i = 5; i >= 0; --i) {
    for (int k = i + 1; k < 6; ++k) x[i] -= A[k][i] * x[k];
    x[i] /= A[i][i];
  }
}

struct Link {
  double a, d, cos_alpha, sin_alpha;
};

struct Search {  // how inverse kinematics looks for its answer, see kinematics.Chain.ik
  int iterations;
  double tol, damping, max_step;
};

struct Chain {
  std::vector<Link> links;  // at most MAX_JOINTS
  double base_cos, base_sin;
  double tool[3];

  int n() const { return static_cast<int>(links.size()); }

  // Frames 0..n: the base's, then the one behind each joint; joint i turns about z of frame i.
  void frames(const double* q, Frame* out) const {
    double r00 = base_cos, r01 = -base_sin, r02 = 0.0;
    double r10 = base_sin, r11 = base_cos, r12 = 0.0;
    double r20 = 0.0, r21 = 0.0, r22 = 1.0;
    double px = 0.0, py = 0.0, pz = 0.0;
    out[0] = {{r00, r01, r02, r10, r11, r12, r20, r21, r22}, {px, py, pz}};
    for (int i = 0; i < n(); ++i) {
      const auto [a, d, ca, sa] = links[i];
      const double c = std::cos(q[i]), s = std::sin(q[i]);
      // columns of R * Rz(q): x' and y'
      const double x0 = r00 * c + r01 * s, x1 = r10 * c + r11 * s, x2 = r20 * c + r21 * s;
      const double y0 = r01 * c - r00 * s, y1 = r11 * c - r10 * s, y2 = r21 * c - r20 * s;
      px += d * r02 + a * x0;
      py += d * r12 + a * x1;
      pz += d * r22 + a * x2;
      const double z0 = r02, z1 = r12, z2 = r22;
      r00 = x0, r10 = x1, r20 = x2;
      r01 = y0 * ca + z0 * sa, r11 = y1 * ca + z1 * sa, r21 = y2 * ca + z2 * sa;
      r02 = z0 * ca - y0 * sa, r12 = z1 * ca - y1 * sa, r22 = z2 * ca - y2 * sa;
      out[i + 1] = {{r00, r01, r02, r10, r11, r12, r20, r21, r22}, {px, py, pz}};
    }
  }

  void tcp(const Frame& flange, double* p) const {
    const auto& [r, o] = flange;
    p[0] = o[0] + r[0] * tool[0] + r[1] * tool[1] + r[2] * tool[2];
    p[1] = o[1] + r[3] * tool[0] + r[4] * tool[1] + r[5] * tool[2];
    p[2] = o[2] + r[6] * tool[0] + r[7] * tool[1] + r[8] * tool[2];
  }

  void fk(const double* q, double* R, double* p) const {
    Frame f[MAX_JOINTS + 1];
    frames(q, f);
    std::copy_n(f[n()].r, 9, R);
    tcp(f[n()], p);
  }

  // TCP position and quaternion wxyz
  void pose(const double* q, double* p, double* quat) const {
    double R[9];
    fk(q, R, p);
    mat_to_quat(R, quat);
  }

  // J (6, n): rows v, then w
  void state(const double* q, double* R, double* p, double* J) const {
    Frame f[MAX_JOINTS + 1];
    frames(q, f);
    const int n = this->n();
    std::copy_n(f[n].r, 9, R);
    tcp(f[n], p);
    for (int i = 0; i < n; ++i) {
      const double zx = f[i].r[2], zy = f[i].r[5], zz = f[i].r[8];
      const double rx = p[0] - f[i].p[0], ry = p[1] - f[i].p[1], rz = p[2] - f[i].p[2];
      J[i] = zy * rz - zz * ry, J[n + i] = zz * rx - zx * rz, J[2 * n + i] = zx * ry - zy * rx;
      J[3 * n + i] = zx, J[4 * n + i] = zy, J[5 * n + i] = zz;
    }
  }

  // TCP position, quaternion wxyz, and (v, w) in the base frame
  void motion(const double* q, const double* dq, double* p, double* quat, double* twist) const {
    double R[9], J[6 * MAX_JOINTS];
    state(q, R, p, J);
    mat_to_quat(R, quat);
    const int n = this->n();
    for (int r = 0; r < 6; ++r) {
      double sum = 0.0;
      for (int i = 0; i < n; ++i) sum += J[r * n + i] * dq[i];
      twist[r] = sum;
    }
  }

  // Damped least squares from `q` to the TCP pose, in place; returns the residual. Where that is
  // not finite, neither is `q`.
  double ik(const double* R, const double* p, double* q, const Search& how) const {
    const int n = this->n();
    double Rc[9], pc[3], D[9], J[6 * MAX_JOINTS], e[6], A[6][6], step[MAX_JOINTS];
    for (int it = 0;; ++it) {
      state(q, Rc, pc, J);
      for (int i = 0; i < 3; ++i) e[i] = p[i] - pc[i];
      multiply_transposed(R, Rc, D);
      mat_to_rotvec(D, e + 3);
      double residual = 0.0;
      bool finite = true;
      for (double x : e) {
        finite = finite && std::isfinite(x);
        residual = std::max(residual, std::fabs(x));
      }
      if (!finite) {
        std::fill_n(q, n, std::numeric_limits<double>::quiet_NaN());
        return std::numeric_limits<double>::infinity();
      }
      if (residual < how.tol || it == how.iterations) return residual;
      for (int i = 0; i < 6; ++i)
        for (int j = 0; j <= i; ++j) {
          double sum = i == j ? how.damping : 0.0;
          for (int k = 0; k < n; ++k) sum += J[i * n + k] * J[j * n + k];
          A[i][j] = sum;
        }
      solve6(A, e);
      double most = 0.0;
      for (int k = 0; k < n; ++k) {
        step[k] = 0.0;
        for (int i = 0; i < 6; ++i) step[k] += J[i * n + k] * e[i];
        most = std::max(most, std::fabs(step[k]));
      }
      const double scale = most > how.max_step ? how.max_step / most : 1.0;
      for (int k = 0; k < n; ++k) q[k] += step[k] * scale;
    }
  }

  // `actions` (h, width): position [m] and rotation vector [rad] in the TCP frame (R0, p0); `q`
  // (h + 1, n): row 0 is given, each other one is solved from the row before. Returns the largest
  // residual. A row that is not finite, and all behind it, become NaN and have no residual.
  double ik_chunk(const double* R0, const double* p0, const double* actions, int h, int width,
                  double* q, const Search& how) const {
    const int n = this->n();
    double worst = 0.0, turn[9], R[9], p[3];
    bool lost = false;
    for (int k = 0; k < h; ++k, q += n, actions += width) {
      for (int i = 0; i < width; ++i) lost = lost || !std::isfinite(actions[i]);
      if (lost) {
        std::fill_n(q + n, n, std::numeric_limits<double>::quiet_NaN());
        continue;
      }
      rotvec_to_mat(actions + 3, turn);
      multiply(R0, turn, R);
      for (int i = 0; i < 3; ++i)
        p[i] = p0[i] + (R0[3 * i] * actions[0] + R0[3 * i + 1] * actions[1] +
                        R0[3 * i + 2] * actions[2]);
      std::copy_n(q, n, q + n);
      const double residual = ik(R, p, q + n, how);
      worst = std::max(worst, residual);
      lost = !std::isfinite(residual);
    }
    return worst;
  }
};

}  // namespace headway
