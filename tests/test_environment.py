"""The machine in a recording, read from made-up file trees: a Jetson, a PC, and nothing at all."""

from __future__ import annotations

from headway.edge.host import environment
from headway.edge.host.environment import changes, cores_of, facts, power_mode, ranges, throttled

CONF = """
< PARAM TYPE=FILE NAME=CPU_ONLINE >
CORE_0 /sys/devices/system/cpu/cpu0/online
< POWER_MODEL ID=0 NAME=MAXN >
CPU_ONLINE CORE_0 1
< POWER_MODEL ID=1 NAME=15W >
< POWER_MODEL ID=2 NAME=30W_SUPER >
< PM_CONFIG DEFAULT=2 >
"""
CPU = "sys/devices/system/cpu"
JETSON = {
    "proc/cpuinfo": "processor\t: 0\nprocessor\t: 1\nCPU part\t: 0xd42\n",
    "proc/device-tree/model": "NVIDIA Jetson AGX Orin Developer Kit\0",
    "proc/version": "Linux version 5.15.148-rt-tegra SMP PREEMPT_RT",
    "proc/sys/kernel/osrelease": "5.15.148-rt-tegra\n",
    "proc/sys/kernel/sched_rt_runtime_us": "-1\n",
    "etc/nv_tegra_release": "# R36 (release), REVISION: 4.3, GCID: 1, BOARD: generic\n",
    "etc/nvpmodel.conf": CONF,
    "var/lib/nvpmodel/status": "pmode:0001 fmode:quiet\n",
    f"{CPU}/isolated": "4-5\n",
    f"{CPU}/cpu0/cpufreq/scaling_governor": "schedutil\n",
    f"{CPU}/cpu1/cpufreq/scaling_governor": "performance\n",
    f"{CPU}/cpu0/cpufreq/scaling_cur_freq": "729600\n",
    f"{CPU}/cpu1/cpufreq/scaling_cur_freq": "2201600\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "61250\n",
    "sys/class/thermal/thermal_zone1/type": "gpu-thermal\n",
    "sys/class/thermal/thermal_zone1/temp": "70500\n",
    "sys/class/thermal/thermal_zone2/type": "cv0-thermal\n",
    "sys/class/thermal/thermal_zone2/temp": "-256000\n",  # switched off
    "sys/class/devfreq/17000000.ga10b/cur_freq": "612000000\n",
    "sys/class/devfreq/17000000.ga10b/max_freq": "1300500000\n",
    "sys/class/devfreq/17000000.ga10b/governor": "nvhost_podgov\n",
    "sys/class/devfreq/15340000.vic/cur_freq": "729600000\n",
    "sys/class/hwmon/hwmon3/oc1_event_cnt": "0\n",
    "sys/class/hwmon/hwmon3/oc3_event_cnt": "12\n",
}
PC = {
    "proc/cpuinfo": "processor\t: 0\nmodel name\t: AMD EPYC\n" * 2,
    "proc/version": "Linux version 6.8.0 SMP PREEMPT_DYNAMIC",
    "proc/sys/kernel/osrelease": "6.8.0\n",
    "proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX Kernel Module  570.86.15  Jan\n",
    "proc/driver/nvidia/gpus/0000:01:00.0/information": "Model: \t\t NVIDIA RTX 4090\nIRQ: 1\n",
    f"{CPU}/cpu0/thermal_throttle/core_throttle_count": "3\n",
}


def tree(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def machine(root):
    """Without what is this process's own."""
    own = {f"env.{k}" for k in environment.process()}
    return {k: v for k, v in facts(root).items() if k not in own}


def test_a_jetson(tmp_path):
    assert machine(tree(tmp_path, JETSON)) == {
        "env.cpu": "NVIDIA Jetson AGX Orin Developer Kit",
        "env.cores": "2",
        "env.governor": "performance, schedutil",
        "env.isolated": "4-5",
        "env.kernel": "5.15.148-rt-tegra",
        "env.preempt_rt": "yes",
        "env.rt_throttling_us": "-1",
        "env.gpu": "17000000.ga10b",
        "env.gpu_governor": "nvhost_podgov",
        "env.gpu_mhz": "612",
        "env.gpu_mhz_max": "1300",
        "env.jetson": "NVIDIA Jetson AGX Orin Developer Kit, R36 (release), REVISION: 4.3",
        "env.power_mode": "15W (1)",
        "env.cpu_mhz": "729 to 2201",
        "env.hottest": "70.5 C (gpu-thermal)",
        "env.throttled": "12",
    }


def test_a_computer_with_a_graphics_card(tmp_path):
    assert machine(tree(tmp_path, PC)) == {
        "env.cpu": "AMD EPYC",
        "env.cores": "2",
        "env.kernel": "6.8.0",
        "env.preempt_rt": "no",
        "env.gpu": "NVIDIA RTX 4090",
        "env.gpu_driver": "570.86.15",
        "env.throttled": "3",
    }


def test_what_is_not_there_or_is_nonsense_is_left_out(tmp_path):
    assert machine(tmp_path) == {}
    tree(tmp_path, {
        "proc/cpuinfo": "\n", "proc/sys/kernel/osrelease": "6.8\n",
        f"{CPU}/cpu0/cpufreq/scaling_cur_freq": "<unknown>\n",
        "sys/class/thermal/thermal_zone0/temp": "hot\n",
    })  # fmt: skip
    (tmp_path / "etc/nvpmodel.conf").mkdir(parents=True)  # a folder where a file should be
    assert machine(tmp_path) == {"env.kernel": "6.8", "env.preempt_rt": "no"}


def test_this_thread():
    found = facts()
    assert found["env.scheduling"].startswith("SCHED_")
    assert cores_of(found["env.affinity"])


def test_the_power_mode_of_a_jetson_that_was_never_set(tmp_path):
    tree(tmp_path, {"etc/nvpmodel.conf": CONF})
    assert power_mode(tmp_path) == "30W_SUPER (2), by default"
    tree(tmp_path, {"var/lib/nvpmodel/status": "pmode:0009\n"})
    assert power_mode(tmp_path) == "unnamed (9)"


def test_throttling_meanwhile_is_said(tmp_path):
    before = throttled(tree(tmp_path, JETSON))
    assert changes(before, throttled(tmp_path)) == ""
    tree(tmp_path, {"sys/class/hwmon/hwmon3/oc1_event_cnt": "7\n"})
    assert changes(before, throttled(tmp_path)) == (
        "the machine was throttled 7 times, most by sys/class/hwmon/hwmon3/oc1_event_cnt"
    )


def test_ranges_of_cores_go_both_ways():
    for cores in ({0}, {0, 1, 2}, {1, 3, 4, 9}, set()):
        assert cores_of(ranges(cores)) == cores
