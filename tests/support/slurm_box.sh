#!/usr/bin/env bash
# A real SLURM of two nodes on this machine, for tests: as root, all its files below one folder, nothing in /etc.
#
#   slurm_box.sh start FOLDER   then `export PATH=FOLDER/bin:$PATH`
#   slurm_box.sh stop FOLDER
#
# BOX_ACCOUNTING=1: slurmdbd on a database of its own, else no accounting. BOX_CPUS=4, BOX_GPUS=2: of each node; neither is there.
# BOX_UNLIKE=1: node n2 has another type of CPU. FOLDER/apart is another folder on each node.
# Debian: slurm-wlm munge libpmix2, with accounting also slurmdbd mariadb-server.
set -euo pipefail
action=$1
mkdir -p "$2"
box=$(cd "$2" && pwd -P)
host=$(hostname -s)
nodes='n1 n2'
export SLURM_CONF=$box/slurm.conf

alive() { kill -0 "$(cat "$box/$1.pid" 2>/dev/null)" 2>/dev/null; }

wait_for() { # seconds, command
    local tries=$(($1 * 10))
    shift
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || { echo "slurm_box: timeout: $*" >&2; tail -n 3 "$box"/*.log >&2 || true; return 1; }
        sleep 0.1
    done
}

stop() {
    local daemon
    [ ! -e "$SLURM_CONF" ] || ! alive slurmctld || timeout 10 scancel --state=RUNNING,PENDING --user=root >/dev/null 2>&1 || true
    for daemon in slurmctld slurmd-n1 slurmd-n2 slurmdbd mariadb munged; do
        alive $daemon || continue
        kill "$(cat "$box/$daemon.pid")"
        for _ in $(seq 100); do alive $daemon || break; sleep 0.1; done
        ! alive $daemon || kill -9 "$(cat "$box/$daemon.pid")"
    done
    rm -f "$box"/*.pid
}

free_ports() { # that many ports, free at this moment
    python3 -c '
import socket, sys
held = [socket.socket() for _ in range(int(sys.argv[1]))]
for s in held: s.bind(("127.0.0.1", 0))
print(*[s.getsockname()[1] for s in held])' "$1"
}

write_commands() { # that know where this SLURM is, also where a plugin has taken SLURM_CONF out of the environment
    local name
    mkdir -p "$box/bin"
    for name in sbatch srun salloc squeue scancel scontrol sinfo sacct sacctmgr; do
        printf '#!/bin/sh\nSLURM_CONF="%s/slurm.conf" exec /usr/bin/%s "$@"\n' "$box" $name >"$box/bin/$name"
        chmod +x "$box/bin/$name"
    done
}

start_munge() {
    mkdir -p "$box/munge"
    chmod 755 "$box" "$box/munge"
    [ -s "$box/munge/key" ] || (umask 077 && head -c 1024 /dev/urandom >"$box/munge/key")
    alive munged || munged --force --key-file="$box/munge/key" --socket="$box/munge/socket" --pid-file="$box/munged.pid" \
        --log-file="$box/munge/log" --seed-file="$box/munge/seed"
    wait_for 10 sh -c "munge -n -S '$box/munge/socket' | unmunge -S '$box/munge/socket'"
}

start_accounting() { # on a database of its own
    local sql="--socket=$box/sql.socket"
    mkdir -p "$box/sql"
    [ -d "$box/sql/mysql" ] || mariadb-install-db --user=root --datadir="$box/sql" --skip-test-db >"$box/install-db.log" 2>&1
    if ! alive mariadb; then
        setsid mariadbd --no-defaults --user=root --datadir="$box/sql" --skip-networking "$sql" --pid-file="$box/mariadb.pid" \
            --innodb-buffer-pool-size=64M --innodb-lock-wait-timeout=900 --innodb-flush-log-at-trx-commit=0 \
            >"$box/mariadb.log" 2>&1 </dev/null &
        wait_for 30 mariadb-admin "$sql" ping
    fi
    mariadb "$sql" -e "CREATE DATABASE IF NOT EXISTS slurm_acct_db; CREATE USER IF NOT EXISTS 'slurm'@'localhost' IDENTIFIED BY 'slurm';
        GRANT ALL ON slurm_acct_db.* TO 'slurm'@'localhost';"
    (umask 077 && cat >"$box/slurmdbd.conf") <<CONF
AuthType=auth/munge
AuthInfo=socket=$box/munge/socket
DbdHost=$host
DbdAddr=127.0.0.1
DbdPort=$dbd_port
SlurmUser=root
LogFile=$box/slurmdbd.log
PidFile=$box/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StoragePort=0
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
CONF
    # The library of the database finds its socket by this variable.
    MYSQL_UNIX_PORT=$box/sql.socket slurmdbd
    wait_for 30 bash -c "echo >/dev/tcp/127.0.0.1/$dbd_port"
}

write_conf() {
    local memory cpus=${BOX_CPUS:-4} gpus=${BOX_GPUS:-2} gpu
    memory=$((($(awk '/MemTotal/{print int($2/1024)}' /proc/meminfo) - 500) / 2))
    : >"$box/gres.conf"
    for gpu in $(seq 0 $((gpus - 1))); do [ -e "$box/gpu$gpu" ] || mknod "$box/gpu$gpu" c 1 3; done
    [ "$gpus" = 0 ] || echo "NodeName=n[1-2] Name=gpu Type=fake File=$box/gpu[0-$((gpus - 1))]" >"$box/gres.conf"
    cat >"$box/slurm.conf" <<CONF
ClusterName=box
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$box/munge/socket
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
# More CPUs than the machine has.
SlurmdParameters=config_overrides
ReturnToService=2
StateSaveLocation=$box/state
SlurmdSpoolDir=$box/spool-%n
SlurmctldPidFile=$box/slurmctld.pid
SlurmdPidFile=$box/slurmd-%n.pid
SlurmctldLogFile=$box/slurmctld.log
SlurmdLogFile=$box/slurmd-%n.log
SlurmctldPort=$ctld_port
SlurmdPort=$n1_port
MailProg=/bin/true
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0,bf_interval=1,requeue_delay=1
MinJobAge=300
SlurmctldTimeout=30
SlurmdTimeout=30
KillWait=10
OverTimeLimit=0
JobRequeue=1
GresTypes=gpu
$accounting
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=$n1_port CPUs=$cpus Boards=1 SocketsPerBoard=1 CoresPerSocket=$cpus ThreadsPerCore=1 RealMemory=$memory Feature=epyc $([ "$gpus" = 0 ] || echo "Gres=gpu:fake:$gpus") State=UNKNOWN
NodeName=n2 NodeHostname=$host NodeAddr=127.0.0.1 Port=$n2_port CPUs=$cpus Boards=1 SocketsPerBoard=1 CoresPerSocket=$cpus ThreadsPerCore=1 RealMemory=$memory Feature=epyc $([ "$gpus" = 0 ] || echo "Gres=gpu:fake:$gpus") State=UNKNOWN
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=2-0 DefaultTime=60 DefMemPerCPU=256 State=UP OverSubscribe=NO
PartitionName=one Nodes=n1 MaxTime=60 DefMemPerCPU=256 State=UP OverSubscribe=NO
CONF
    # Two slurmd on one host would share PMIx's folder; the wheel of Open MPI knows neither of SLURM's security and storage.
    for node in $nodes; do
        mkdir -p "$box/$node" "$box/spool-$node" "$box/pmix-$node"
        ln -sf ../slurm.conf "$box/$node/slurm.conf"
        ln -sf ../gres.conf "$box/$node/gres.conf"
        printf 'PMIxEnv=PMIX_MCA_gds=hash;PMIX_MCA_psec=native\nPMIxCliTmpDirBase=%s\n' "$box/pmix-$node" >"$box/$node/mpi.conf"
    done
}

start_second_node() { # with a view of its own on the file system
    mkdir -p "$box/apart"
    sed 's/^\(model name\t*\):.*/\1: another CPU/' /proc/cpuinfo >"$box/cpuinfo"
    unshare --mount bash -euc '
        mount --make-rprivate /
        mount -t tmpfs none "$1/apart"
        mount -t tmpfs none /dev/shm # else the segments of both nodes'"'"' ranks have the same names
        [ "$2" = 0 ] || mount --bind "$1/cpuinfo" /proc/cpuinfo
        exec slurmd -N n2 -f "$1/n2/slurm.conf"' - "$box" "${BOX_UNLIKE:-0}"
}

start() {
    mkdir -p "$box/state"
    # SLURM has to resolve the name of its host.
    getent hosts "$host" >/dev/null || echo "127.0.0.1 $host" >>/etc/hosts
    # srun --mpi=pmix opens libpmix.so; Debian ships libpmix.so.2 only.
    local pmix
    pmix=/usr/lib/$(uname -m)-linux-gnu/pmix2/lib
    [ ! -e "$pmix/libpmix.so.2" ] || [ -e "$pmix/libpmix.so" ] || ln -s libpmix.so.2 "$pmix/libpmix.so"
    [ -e "$box/ports" ] || free_ports 4 >"$box/ports"
    read -r ctld_port dbd_port n1_port n2_port <"$box/ports"
    write_commands
    start_munge
    accounting='AccountingStorageType=accounting_storage/none'
    if [ "${BOX_ACCOUNTING:-0}" = 1 ]; then
        accounting="AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$dbd_port
AccountingStoragePass=$box/munge/socket
AccountingStorageTRES=gres/gpu
AccountingStoreFlags=job_comment
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1"
    fi
    write_conf
    if [ "${BOX_ACCOUNTING:-0}" = 1 ]; then
        alive slurmdbd || start_accounting
        sacctmgr -n -P list cluster format=cluster | grep -qx box || sacctmgr -i add cluster box >/dev/null
    fi
    alive slurmctld || slurmctld
    wait_for 20 scontrol ping
    alive slurmd-n1 || slurmd -N n1 -f "$box/n1/slurm.conf"
    alive slurmd-n2 || start_second_node
    wait_for 30 sh -c "[ \$(sinfo -h -N -p main -o '%T' | grep -cE '^(idle|mixed|allocated)\$') -ge 2 ]"
    if [ "${BOX_ACCOUNTING:-0}" = 1 ]; then
        sacctmgr -n -P list assoc user=root format=account | grep -qx box ||
            { sacctmgr -i add account box Cluster=box && sacctmgr -i add user root Account=box DefaultAccount=box; } >/dev/null
    fi
}

case $action in start | stop) $action ;; *) echo "slurm_box.sh start|stop FOLDER" >&2; exit 2 ;; esac
