# The queue that TUNE's Firehose sends to, its dead-letter queue, and a role for Hydrant that may do no more than it does.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

variable "name" {
  description = "The name of the queue; the dead-letter queue has -dead behind it, the consumer's role -hydrant."
  type        = string
  default     = "tune-firehose"
}

variable "sender" {
  description = "Who may send: TUNE's user."
  type        = string
  default     = "arn:aws:iam::875314598127:user/ho-firehose-prod"
}

variable "assume_role_policy" {
  description = "Who may take the consumer's role on, as a trust policy in JSON: the instance, the task, or the service account that Hydrant runs as."
  type        = string
}

locals {
  fourteen_days = 14 * 24 * 3600
}

resource "aws_sqs_queue" "dead" {
  name                      = "${var.name}-dead"
  message_retention_seconds = local.fourteen_days
  sqs_managed_sse_enabled   = true
}

resource "aws_sqs_queue" "firehose" {
  name                      = var.name
  message_retention_seconds = local.fourteen_days
  sqs_managed_sse_enabled   = true
  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.dead.arn
    # A message comes again after each restart, without being bad.
    maxReceiveCount = 10
  })
}

# No other queue may make dead letters of this one's.
resource "aws_sqs_queue_redrive_allow_policy" "dead" {
  queue_url = aws_sqs_queue.dead.id
  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [aws_sqs_queue.firehose.arn]
  })
}

data "aws_iam_policy_document" "sender" {
  statement {
    effect    = "Allow"
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.firehose.arn]
    principals {
      type        = "AWS"
      identifiers = [var.sender]
    }
  }
}

resource "aws_sqs_queue_policy" "firehose" {
  queue_url = aws_sqs_queue.firehose.id
  policy    = data.aws_iam_policy_document.sender.json
}

data "aws_iam_policy_document" "consumer" {
  statement {
    effect = "Allow"
    actions = [
      "sqs:ReceiveMessage",
      "sqs:DeleteMessage",
      "sqs:ChangeMessageVisibility",
      "sqs:GetQueueAttributes",
    ]
    resources = [aws_sqs_queue.firehose.arn]
  }
  # How many dead letters there are.
  statement {
    effect    = "Allow"
    actions   = ["sqs:GetQueueAttributes"]
    resources = [aws_sqs_queue.dead.arn]
  }
}

resource "aws_iam_role" "consumer" {
  name               = "${var.name}-hydrant"
  assume_role_policy = var.assume_role_policy
}

resource "aws_iam_role_policy" "consumer" {
  name   = "read-${var.name}"
  role   = aws_iam_role.consumer.id
  policy = data.aws_iam_policy_document.consumer.json
}

output "queue_url" {
  description = "For queue_url in hydrant.toml, and for TUNE."
  value       = aws_sqs_queue.firehose.url
}

output "role_arn" {
  description = "The role for Hydrant."
  value       = aws_iam_role.consumer.arn
}
