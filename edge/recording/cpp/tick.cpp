// headway.edge.recording._tick: what every tick does beside the guard (see edge/recording/tick.py; the Python is in
// edge/recording/pen.py, edge/control/audit.py, edge/control/row.py and edge/control/payload.py, which this follows),
// and the fence of edge/recording/fence.py.
#include <nanobind/stl/optional.h>
#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "../../../drivers/cpp/arrays.hpp"

using headway::Array, headway::Vector, headway::Three;
using Four = Array<const double, nb::shape<4>>;
using Six = Array<const double, nb::shape<6>>;
using OutSix = Array<double, nb::shape<6>>;

namespace {

constexpr std::size_t kHeader = 4096, kNotes = std::size_t(1) << 14;
enum Word { kConsumed = 0, kNoted = 5, kTaken = 6 };

struct Note {
  std::uint16_t channel, op;
  std::uint32_t seq, length, spare;
  std::uint64_t t_ns, pos;
};
static_assert(sizeof(Note) == 32);
constexpr std::size_t kPayload = kHeader + kNotes * sizeof(Note);

// A Python object's memory, until the end of the block.
class Bytes {
 public:
  Bytes(nb::handle from, int flags) {
    if (PyObject_GetBuffer(from.ptr(), &view_, flags) != 0) throw nb::python_error();
  }
  ~Bytes() { PyBuffer_Release(&view_); }
  Bytes(const Bytes&) = delete;
  Bytes& operator=(const Bytes&) = delete;
  std::uint8_t* data() const { return static_cast<std::uint8_t*>(view_.buf); }
  std::size_t size() const { return std::size_t(view_.len); }

 private:
  Py_buffer view_;
};

class Pen {
 public:
  explicit Pen(nb::handle memory) : memory_(memory, PyBUF_WRITABLE) {
    if (memory_.size() <= kPayload)
      throw nb::value_error(("wanted more than " + std::to_string(kPayload) + " bytes, found " +
                             std::to_string(memory_.size())).c_str());
    capacity_ = memory_.size() - kPayload;
  }

  bool put(std::uint16_t channel, std::uint32_t seq, std::uint64_t t_ns, nb::handle head,
           nb::handle body) {
    const Bytes a(head, PyBUF_SIMPLE), b(body, PyBUF_SIMPLE);
    const std::size_t size = a.size() + b.size();
    if (size > capacity_) {
      throw nb::value_error(("wanted a message of at most " + std::to_string(capacity_) +
                             " bytes, found " + std::to_string(size) +
                             ": give Recorder a larger capacity_bytes").c_str());
    }
    std::uint64_t pos = head_, at = pos % capacity_;
    if (at + size > capacity_) {  // a payload lies in one piece
      pos += capacity_ - at;
      at = 0;
    }
    if (!free() || (pos + size - tail_ > capacity_ && !room(pos, size))) return false;
    std::uint8_t* to = memory_.data() + kPayload + at;
    std::memcpy(to, a.data(), a.size());
    std::memcpy(to + a.size(), b.data(), b.size());
    head_ = pos + size;
    note({channel, 0, seq, std::uint32_t(size), 0, t_ns, pos});
    return true;
  }

  bool ask(std::uint16_t op, std::uint32_t value) {
    if (!free()) return false;
    note({0, op, 0, value, 0, 0, 0});
    return true;
  }

 private:
  std::uint64_t* word(Word w) const { return reinterpret_cast<std::uint64_t*>(memory_.data()) + w; }

  bool room(std::uint64_t pos, std::size_t size) {
    const std::uint64_t consumed =
        __atomic_load_n(word(kConsumed), __ATOMIC_ACQUIRE);
    tail_ = consumed == head_ ? pos : consumed;  // empty: also the skipped end
    return pos + size - tail_ <= capacity_;
  }

  bool free() {
    if (noted_ - taken_ >= kNotes)
      taken_ = __atomic_load_n(word(kTaken), __ATOMIC_ACQUIRE);
    return noted_ - taken_ < kNotes;
  }

  void note(const Note& n) {
    std::memcpy(memory_.data() + kHeader + noted_ % kNotes * sizeof n, &n, sizeof n);
    __atomic_store_n(word(kNoted), ++noted_, __ATOMIC_RELEASE);
  }

  Bytes memory_;
  std::size_t capacity_ = 0;
  std::uint64_t head_ = 0, tail_ = 0, noted_ = 0, taken_ = 0;
};

using Row = Array<std::int64_t, nb::ndim<1>>;
using Octets = Array<std::uint8_t, nb::ndim<1>>;

std::int64_t whole(PyObject* x) {
  const long long v = PyLong_AsLongLong(x);
  if (v == -1 && PyErr_Occurred()) throw nb::python_error();
  return v;
}

// A row of edge.audit.TIMING: t_ns, late, the stages, missed, begun, the ages, the counters.
class Tally {
 public:
  Tally(Row out, std::size_t stages, std::size_t ages)
      : out_(std::move(out)), stages_(stages), ages_(ages) {
    if (out_.shape(0) != 4 + stages + ages + 6)
      throw nb::value_error(("wanted a row of " + std::to_string(4 + stages + ages + 6) +
                             " columns, found " + std::to_string(out_.shape(0))).c_str());
  }

  void begin(std::int64_t gc_ns) {
    rusage u;
    getrusage(RUSAGE_THREAD, &u);
    std::int64_t* to = out_.data() + 4 + stages_ + ages_;
    to[0] = u.ru_minflt;
    to[1] = u.ru_majflt;
    to[2] = u.ru_nvcsw;
    to[3] = u.ru_nivcsw;
    to[4] = gc_ns;
    to[5] = sched_getcpu();
  }

  void finish(std::int64_t t_ns, std::int64_t late_ns, std::int64_t missed, nb::list stamps,
              nb::list sampled, std::int64_t at) {
    if (stamps.size() != stages_ + 1 || sampled.size() != ages_)
      throw nb::value_error("wanted a stamp per stage and one more, and a time per sample");
    std::int64_t* to = out_.data();
    *to++ = t_ns;
    *to++ = late_ns;
    const std::int64_t begun = whole(stamps[0].ptr());
    std::int64_t before = begun;
    for (std::size_t i = 1; i <= stages_; ++i) {
      const std::int64_t t = whole(stamps[i].ptr());
      *to++ = t - before;
      before = t;
    }
    *to++ = missed;
    *to++ = begun;
    for (std::size_t i = 0; i < ages_; ++i) {
      const std::int64_t t = whole(sampled[i].ptr());
      *to++ = t >= 0 ? at - t : -1;
    }
  }

 private:
  Row out_;
  std::size_t stages_, ages_;
};

using Joints = std::optional<Vector>;

// The front of a telemetry row (see edge/control/row.py): t_ns, then float64 from the joints on.
class Cells {
 public:
  Cells(Octets out, std::size_t joints) : out_(std::move(out)), before_(joints, kNone) {
    const std::size_t need = 8 * (1 + 5 * joints + kOthers);
    if (out_.shape(0) < need)
      throw nb::value_error(("wanted a row of at least " + std::to_string(need) +
                             " bytes, found " + std::to_string(out_.shape(0))).c_str());
  }

  void fill(std::int64_t t_ns, const Vector& q_ref, double dt, const Joints& q, const Joints& dq,
            const Joints& tau, const Joints& pos, const Joints& quat, const Joints& twist,
            const Joints& wrench, double width, double width_ref, double force, double vacuum,
            double phase, double elapsed_s, double limit_s, double retries, double recovery,
            double protective_stop, double ik_failure, double clamped, double watchdog,
            double seam_jump, double disagreement, double jitter_s) {
    const std::size_t n = before_.size();
    headway::want(q_ref.shape(0), n, "numbers");
    std::memcpy(out_.data(), &t_ns, sizeof t_ns);
    double* to = reinterpret_cast<double*>(out_.data()) + 1;
    put(to, q, n);
    put(to, dq, n);
    to = std::copy_n(q_ref.data(), n, to);
    for (std::size_t j = 0; j < n; ++j) *to++ = (q_ref.data()[j] - before_[j]) / dt;
    std::copy_n(q_ref.data(), n, before_.data());
    put(to, tau, n);
    put(to, pos, 3);
    put(to, quat, 4);
    put(to, twist, 6);
    put(to, wrench, 6);
    const double rest[] = {width,      width_ref, force,    vacuum,
                           phase,      elapsed_s, limit_s,  retries,
                           recovery,   protective_stop,     ik_failure,
                           clamped,    watchdog,  seam_jump, disagreement,
                           jitter_s};
    std::copy_n(rest, std::size(rest), to);
  }

 private:
  static constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  static constexpr std::size_t kOthers = 3 + 4 + 6 + 6 + 16;

  static void put(double*& to, const Joints& v, std::size_t n) {
    if (v) headway::want(v->shape(0), n, "numbers");
    to = v ? std::copy_n(v->data(), n, to) : std::fill_n(to, n, kNone);
  }

  Octets out_;
  std::vector<double> before_;
};

// The tool's weight and the sensor's bias out of a wrench, operation by operation as in Python.
class Tool {
 public:
  Tool(double weight, const Three& com, const Three& tcp) : weight_(weight) {
    std::copy_n(com.data(), 3, com_);
    std::copy_n(tcp.data(), 3, tcp_);
  }

  void at_sensor(const Three& force, const Three& torque, const Six& bias, const Four& quat,
                 OutSix& out) const {
    const double *f = force.data(), *m = torque.data(), *b = bias.data();
    const double w = quat.data()[0], x = quat.data()[1], y = quat.data()[2], z = quat.data()[3];
    const double g[] = {2 * weight_ * (x * z - w * y), 2 * weight_ * (y * z + w * x),
                        weight_ * (1 - 2 * (x * x + y * y))};
    double* to = out.data();
    for (int i = 0; i < 3; ++i) to[i] = f[i] - b[i] - g[i];
    for (int i = 0; i < 3; ++i) {
      const int j = (i + 1) % 3, k = (i + 2) % 3;
      to[3 + i] = m[i] - b[3 + i] - (com_[j] * g[k] - com_[k] * g[j]);
    }
  }

  void at_tcp(const Three& force, const Three& torque, const Six& bias, const Four& quat,
              OutSix& out) const {
    at_sensor(force, torque, bias, quat, out);
    double* to = out.data();
    for (int i = 0; i < 3; ++i) {
      const int j = (i + 1) % 3, k = (i + 2) % 3;
      to[3 + i] -= tcp_[j] * to[k] - tcp_[k] * to[j];
    }
  }

 private:
  double weight_, com_[3], tcp_[3];
};

}  // namespace

NB_MODULE(_tick, m) {
  using nb::arg;
  m.attr("VERSION") = 3;  // edge/recording/tick.py wants this one
  // Nothing on x86, whose loads and stores keep these orders by themselves; `dmb ish` on arm64.
  m.def("fence", [] { std::atomic_thread_fence(std::memory_order_acq_rel); });
  nb::class_<Pen>(m, "Pen")
      .def(nb::init<nb::handle>(), arg("memory"))
      .def("put", &Pen::put)
      .def("ask", &Pen::ask);
  nb::class_<Tally>(m, "Tally")
      .def(nb::init<Row, std::size_t, std::size_t>(), arg("out").noconvert(), arg("stages"),
           arg("ages"))
      .def("begin", &Tally::begin)
      .def("finish", &Tally::finish);
  const auto maybe = [](const char* name) { return arg(name).none(); };
  nb::class_<Cells>(m, "Cells")
      .def(nb::init<Octets, std::size_t>(), arg("out").noconvert(), arg("joints"))
      .def("fill", &Cells::fill, arg("t_ns"), arg("q_ref"), arg("dt"), maybe("q"),
           maybe("dq"), maybe("tau"), maybe("pos"), maybe("quat"), maybe("twist"), maybe("wrench"),
           arg("width"), arg("width_ref"), arg("force"), arg("vacuum"), arg("phase"),
           arg("elapsed_s"), arg("limit_s"), arg("retries"), arg("recovery"),
           arg("protective_stop"), arg("ik_failure"), arg("clamped"), arg("watchdog"),
           arg("seam_jump"), arg("disagreement"), arg("jitter_s"));
  nb::class_<Tool>(m, "Tool")
      .def(nb::init<double, const Three&, const Three&>(), arg("weight"), arg("com"), arg("tcp"))
      .def("at_sensor", &Tool::at_sensor, arg("force"), arg("torque"), arg("bias"), arg("quat"),
           arg("out").noconvert())
      .def("at_tcp", &Tool::at_tcp, arg("force"), arg("torque"), arg("bias"), arg("quat"),
           arg("out").noconvert());
}
