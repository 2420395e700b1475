"""One real Kubernetes node in one sandbox: `python -m tools.cluster up`.

    up (__main__) -> keeper -> unshare -> catatonit -> supervisor -> etcd, kube-apiserver, containerd, kubelet, ...
                        `---> socat, the API server's port for programs outside

The sandbox is a set of namespaces (network, mounts, processes): when any of that chain ends, the kernel ends all that follows.
Control groups and mount points are no namespace's: `remains` removes them.

Nothing in there has a way out of the machine. `enter` brings a program of this machine into the sandbox's network: it reaches
pods and Services by address, and pods reach it at run.NODE_ADDRESS. Names of Services are known to pods only.
"""
