# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: services_of
short_description: The service records of one host
version_added: 0.1.0
author:
  - The frontdesk.webstack authors (@frontdesk)
description:
  - Takes from the plan what the module M(frontdesk.webstack.app_service#module) needs, which is the services that one
    app server runs on one host, without their environments.
positional: host, server
options:
  _input:
    description: The plan, C(webstack_plan).
    type: dict
    required: true
  host:
    description: The host's name in the inventory.
    type: str
    required: true
  server:
    description: The app server, for example V(gunicorn).
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show which apps Gunicorn serves here
  ansible.builtin.debug:
    msg: "{{ webstack_plan | frontdesk.webstack.services_of(inventory_hostname, 'gunicorn') | map(attribute='name') }}"
"""

RETURN = r"""
_value:
  description: The service records.
  type: list
  elements: dict
"""

from ansible.errors import AnsibleFilterError

from ansible_collections.frontdesk.webstack.plugins.plugin_utils import services


def _services_of(plan, host, server):
    try:
        return services.services_of(plan, host, server)
    except (KeyError, TypeError, AttributeError) as error:
        raise AnsibleFilterError("services_of: this is no plan. Write `webstack_plan | "
                                 "frontdesk.webstack.services_of(inventory_hostname, 'gunicorn')`.") from error


class FilterModule:
    """Ansible looks for this class."""

    def filters(self):
        return {"services_of": _services_of}
