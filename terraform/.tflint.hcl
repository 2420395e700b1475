# `tflint --recursive --config "$PWD/.tflint.hcl"`. The rules for AWS are a plugin that `tflint --init` fetches; these come with tflint itself.
plugin "terraform" {
  enabled = true
  preset  = "all"
}
