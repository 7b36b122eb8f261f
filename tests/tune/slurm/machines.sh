#!/bin/bash
# machines.sh FOLDER N COMMAND...: runs COMMAND where `srun` reaches N machines, each a namespace of
# network, processes and name on this one; FOLDER must have a short path. To be run in a user
# namespace: unshare --map-root-user --net --mount --pid --fork --kill-child --mount-proc
set -euo pipefail
folder=$1 n=$2
shift 2
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ip link set lo up
ip link add bridge type bridge
ip link set bridge up
echo "127.0.0.1 localhost" >"$folder/hosts"
for i in $(seq "$n"); do echo "10.77.0.$i node$i" >>"$folder/hosts"; done
for i in $(seq "$n"); do
    unshare --net --uts --mount --pid --fork --kill-child --mount-proc bash -c "
        hostname node$i
        mount --bind '$folder/hosts' /etc/hosts
        touch '$folder/node$i.up'
        sleep infinity & wait" &  # a shell, so that somebody reaps the orphans
    until [[ -e $folder/node$i.up ]]; do sleep 0.05; done
    pid=$(pgrep -P $!)
    ip link add "veth$i" type veth peer name eth0 netns "$pid"
    ip link set "veth$i" master bridge up
    nsenter -t "$pid" -n ip link set lo up
    nsenter -t "$pid" -n ip addr add "10.77.0.$i/24" dev eth0
    nsenter -t "$pid" -n ip link set eth0 up
    echo "node$i $pid" >>"$folder/nodes"
done
export MACHINES=$folder PATH=$here:$PATH
export SLURM_JOB_NODELIST="node[1-$n]" SLURM_JOB_NUM_NODES=$n SLURM_CPUS_PER_TASK=1
export SLURM_JOB_ID=77
"$@"
