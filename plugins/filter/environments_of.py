# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: environments_of
short_description: The environments of services that were written by hand
version_added: 0.1.0
author:
  - The frontdesk.webstack authors (@frontdesk)
description:
  - Takes the environments of C(gunicorn_services) and C(uwsgi_services) from the plan. They are secret, so use this
    only where nothing is shown.
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
- name: Serve the apps of this host
  frontdesk.webstack.app_service:
    services: "{{ webstack_plan | frontdesk.webstack.services_of(inventory_hostname, 'gunicorn') }}"
    environments: "{{ webstack_plan | frontdesk.webstack.environments_of(inventory_hostname, 'gunicorn') | to_json }}"
"""

RETURN = r"""
_value:
  description: The environments, by the service's name.
  type: dict
"""

from ansible.errors import AnsibleFilterError

from ansible_collections.frontdesk.webstack.plugins.plugin_utils import services


def _environments_of(plan, host, server):
    try:
        return services.environments_of(plan, host, server)
    except (KeyError, TypeError, AttributeError) as error:
        raise AnsibleFilterError("environments_of: this is no plan. Write `webstack_plan | "
                                 "frontdesk.webstack.environments_of(inventory_hostname, 'gunicorn')`.") from error


class FilterModule:
    """Ansible looks for this class."""

    def filters(self):
        return {"environments_of": _environments_of}
