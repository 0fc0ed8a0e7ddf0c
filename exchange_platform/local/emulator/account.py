"""Makes moto answer Terraform as an AWS account does. Not here: the emulator's process (server.py).

moto (5.2) gives SES's switch and times in another form than AWS; knows neither its event destinations nor the
tags of scalable targets; takes a bucket policy's refusal as meant for everybody whose request does not meet
its condition; files the tags of a mail identity under an ARN that is not its own; runs no task whose
containers have no memory of their own; and forgets what Terraform then finds changed: descriptions of rules
between groups, tags that a stream is made with, how databases are watched and services spread, and where a
function logs. Only an emulator that begins as an empty account imports this: the services behind it take
their time and memory.
"""

from __future__ import annotations

import json
import time
from types import SimpleNamespace
from typing import Any

import moto.applicationautoscaling.responses
import moto.awslambda.models
import moto.ec2.models.security_groups
import moto.ecs.models
import moto.iam.access_control
import moto.kinesis.responses
import moto.rds.models
import moto.ses.models
import moto.sesv2.models
import moto.sesv2.responses
import moto.sesv2.urls
import moto.sqs.models
from moto.utilities.utils import get_partition

functions: Any = moto.awslambda.models
scaling: Any = moto.applicationautoscaling.responses
ec2: Any = moto.ec2.models.security_groups
ecs: Any = moto.ecs.models
kinesis: Any = moto.kinesis.responses
rds: Any = moto.rds.models
sqs: Any = moto.sqs.models
access: Any = moto.iam.access_control  # its classes are changed, which no type allows
ses: Any = moto.ses.models
sesv2: Any = moto.sesv2.responses
sesv2_models: Any = moto.sesv2.models

_DESTINATIONS = "{0}/v2/email/configuration-sets/(?P<ConfigurationSetName>[^/]+)/event-destinations"


def _destinations(responses: Any) -> dict[str, dict[str, Any]]:
    """The event destinations of the configuration set that is asked about, by name."""
    backend = responses.sesv2_backend.core_backend
    configuration_set = backend.describe_configuration_set(responses._get_param("ConfigurationSetName"))
    destinations: dict[str, dict[str, Any]] = configuration_set.__dict__.setdefault("destinations", {})
    return destinations


def _create_event_destination(responses: Any) -> str:
    name = responses._get_param("EventDestinationName")
    _destinations(responses)[name] = responses._get_param("EventDestination")
    return "{}"


def _delete_event_destination(responses: Any) -> str:
    _destinations(responses).pop(responses._get_param("EventDestinationName"), None)
    return "{}"


def _get_event_destinations(responses: Any) -> str:
    return json.dumps(
        {
            "EventDestinations": [
                {**destination, "Name": name} for name, destination in _destinations(responses).items()
            ]
        }
    )


def install() -> None:
    """Put these in moto's place, once, before its server starts."""
    if hasattr(sesv2.SESV2Response, "get_configuration_set_event_destinations"):
        return
    response = sesv2.SESV2Response
    response.create_configuration_set_event_destination = _create_event_destination
    response.update_configuration_set_event_destination = _create_event_destination
    response.delete_configuration_set_event_destination = _delete_event_destination
    response.get_configuration_set_event_destinations = _get_event_destinations
    for path in (f"{_DESTINATIONS}$", f"{_DESTINATIONS}/(?P<EventDestinationName>[^/]+)$"):
        moto.sesv2.urls.url_paths[path] = response.dispatch
    _correct_mail()
    _keep_tags_of_identities()
    _correct_conditions()
    _add_tags_of_targets()
    _keep_tags_of_streams()
    _keep_descriptions()
    _tell_of_databases()
    _tell_of_services()
    _run_tasks()
    _tell_of_functions()
    _write_redrive_policies_shortly()


def _correct_mail() -> None:
    told = ses.ConfigurationSet.to_dict_v2
    begin = ses.EmailIdentity.__init__

    def begun(identity: Any, *args: Any, **kwargs: Any) -> None:
        begin(identity, *args, **kwargs)
        identity.dkim_attributes["LastKeyGenerationTimestamp"] = time.time()

    def to_dict_v2(configuration_set: Any) -> dict[str, Any]:
        options = {name: value for name, value in told(configuration_set).items() if value}
        return {**options, "SendingOptions": {"SendingEnabled": True}}

    ses.ConfigurationSet.to_dict_v2 = to_dict_v2
    ses.EmailIdentity.__init__ = begun


def _keep_tags_of_identities() -> None:
    """AWS's ARN of an identity ends in `identity/<name>`; moto, when it is made, files its tags under
    `email-identity/<name>`.
    """
    create = sesv2_models.SESV2Backend.create_email_identity

    def create_email_identity(backend: Any, email_identity: str, tags: Any, *args: Any, **kwargs: Any) -> Any:
        made = create(backend, email_identity, tags, *args, **kwargs)
        if tags:
            arn = f"arn:{get_partition(backend.region_name)}:ses:{backend.region_name}:{backend.account_id}:identity/{email_identity}"
            backend.core_backend.tagger.tag_resource(arn, tags)
        return made

    sesv2_models.SESV2Backend.create_email_identity = create_email_identity


def _correct_conditions() -> None:
    """A refusal on a condition says nothing of a request that has not what it asks about; here none has
    `aws:SecureTransport`.
    """
    decide = access.IAMPolicyStatement.is_action_permitted

    def is_action_permitted(
        statement: Any,
        action: str,
        resource: str = "*",
        principal: str | None = None,
        incoming_condition_values: dict[str, str] | None = None,
    ) -> Any:
        written = statement._statement
        asked = {key for test in written.get("Condition", {}).values() for key in test}
        if written["Effect"] == "Deny" and not asked <= set(incoming_condition_values or {}):
            return access.PermissionResult.NEUTRAL
        return decide(statement, action, resource, principal, incoming_condition_values)

    access.IAMPolicyStatement.is_action_permitted = is_action_permitted


def _add_tags_of_targets() -> None:
    response = scaling.ApplicationAutoScalingResponse
    register = response.register_scalable_target
    tags: dict[str, dict[str, str]] = {}

    def register_scalable_target(responses: Any) -> str:
        answer: str = register(responses)
        dimension, resource = responses._get_param("ScalableDimension"), responses._get_param("ResourceId")
        target = responses.applicationautoscaling_backend.targets[dimension][resource]
        tags.setdefault(target.arn, {}).update(responses._get_param("Tags") or {})
        return answer

    def list_tags_for_resource(responses: Any) -> str:
        return json.dumps({"Tags": tags.get(responses._get_param("ResourceARN"), {})})

    response.register_scalable_target = register_scalable_target
    response.list_tags_for_resource = list_tags_for_resource


def _keep_tags_of_streams() -> None:
    create = kinesis.KinesisResponse.create_stream

    def create_stream(responses: Any) -> Any:
        answer = create(responses)
        name, tags = responses._get_param("StreamName"), responses._get_param("Tags")
        if tags:
            responses.kinesis_backend.add_tags_to_stream(None, name, tags)
        return answer

    kinesis.KinesisResponse.create_stream = create_stream


def _keep_descriptions() -> None:
    def description(rule: Any) -> str | None:
        told: str | None = rule.ip_range.get("Description") or (rule.source_group or {}).get("Description")
        return told

    ec2.SecurityGroupRule.description = property(description)


def _tell_of_databases() -> None:
    begin = rds.DBInstance.__init__
    scaling_info = rds.DBCluster.scaling_configuration_info.fget

    def begun(instance: Any, *args: Any, **kwargs: Any) -> None:
        begin(instance, *args, **kwargs)
        instance.performance_insights_enabled = kwargs.get("enable_performance_insights", False)
        instance.performance_insights_kms_key_id = kwargs.get("performance_insights_kms_key_id")

    def scaling_configuration_info(cluster: Any) -> Any:
        return scaling_info(cluster) if cluster.scaling_configuration else None

    rds.DBInstance.__init__ = begun
    rds.DBCluster.scaling_configuration_info = property(scaling_configuration_info)


def _tell_of_services() -> None:
    ecs.Service.availability_zone_rebalancing = "DISABLED"


def _run_tasks() -> None:
    """Fargate's containers may share their task's memory; moto counts each one's own. And a task runs until
    it is stopped; moto's ends by being asked about.
    """
    backend = ecs.EC2ContainerServiceBackend
    required = backend._calculate_task_resource_requirements

    def requirements(definition: Any) -> dict[str, Any]:
        containers = [{"memory": 0, **container} for container in definition.container_definitions]
        told: dict[str, Any] = required(SimpleNamespace(container_definitions=containers))
        return told

    backend._calculate_task_resource_requirements = staticmethod(requirements)
    ecs.Task.advance = lambda _task: None


def _tell_of_functions() -> None:
    begin = functions.LambdaFunction.__init__
    update = functions.LambdaFunction.update_configuration
    told = functions.LambdaFunction.get_configuration

    def begun(function: Any, account_id: str, spec: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        begin(function, account_id, spec, *args, **kwargs)
        function.logging_config = spec.get("LoggingConfig") or {}

    def update_configuration(function: Any, config_updates: dict[str, Any]) -> Any:
        function.logging_config = config_updates.get("LoggingConfig", function.logging_config)
        return update(function, config_updates)

    def get_configuration(function: Any, on_create: bool = False) -> dict[str, Any]:
        own = {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{function.function_name}"}
        return {**told(function, on_create), "LoggingConfig": {**own, **function.logging_config}}

    functions.LambdaFunction.__init__ = begun
    functions.LambdaFunction.update_configuration = update_configuration
    functions.LambdaFunction.get_configuration = get_configuration


def _write_redrive_policies_shortly() -> None:
    told = sqs.Queue.attributes.fget

    def attributes(queue: Any) -> dict[str, Any]:
        result: dict[str, Any] = told(queue)
        if queue.redrive_policy:
            result["RedrivePolicy"] = json.dumps(queue.redrive_policy, separators=(",", ":"))
        return result

    sqs.Queue.attributes = property(attributes)
