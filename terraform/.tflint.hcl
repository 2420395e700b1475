# `tflint --recursive --config "$PWD/.tflint.hcl"`. The rules for AWS are a plugin that `tflint --init` fetches; these come with tflint itself.
plugin "terraform" {
  enabled = true
  preset  = "all"
}

# Variables of the root are cut by topic: variables_database.tf and others.
rule "terraform_standard_module_structure" {
  enabled = false
}
