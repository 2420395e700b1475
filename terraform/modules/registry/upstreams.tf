# Registries that need no credentials, by the names of ECR's API (CreatePullThroughCacheRule, `upstreamRegistry`). Nothing here pulls from them:
# a cluster that does, does it through ECR.
locals {
  upstreams = {
    ecr-public = "public.ecr.aws"
    k8s        = "registry.k8s.io"
    quay       = "quay.io"
  }
}
