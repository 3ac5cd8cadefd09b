#!/usr/bin/python
# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: site_certificates
short_description: Certificates of sites from an authority of one's own
version_added: 0.2.0
author:
  - The frontdesk.webstack authors (@frontdesk)
description:
  - Gives each site of the plan (C(webstack_plan)) that says C(issuer=private) a certificate, and another one when less
    than a third of its time is left, or when its names or the authority are others.
  - The key is made on the host, with the program C(openssl), and stays there. The authority signs on the controller;
    its key never leaves it.
  - Key, certificate and chain are in one file, which is replaced in one step and readable by root alone. nginx has to
    be told of a new one; M(frontdesk.webstack.nginx_tree) notices it.
attributes:
  check_mode:
    description: Says which certificates would be made, and makes none, and no authority either.
    support: full
  diff_mode:
    description: Shows why each certificate is made.
    support: full
  platform:
    description: Debian and its like.
    platforms: debian
    support: full
options:
  state:
    description:
      - V(present) does all, for the sites of the plan.
      - The others are its steps on the host. V(read) returns the certificates that are there, V(request) makes keys
        and returns requests, V(install) puts what was signed in place.
    type: str
    choices: [present, read, request, install]
    default: present
  paths:
    description: The files, for O(state=read) and O(state=request).
    type: list
    elements: path
    default: []
  certificates:
    description: The text of each certificate and its chain by the path of its file, for O(state=install).
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Give the sites their certificates
  frontdesk.webstack.site_certificates:
  become: true
"""

RETURN = r"""
issued:
  description: The sites that got a certificate (in check mode, would get one), each with the reason.
  returned: with O(state=present)
  type: list
  elements: dict
  contains:
    site: {description: "Name of the site.", type: str}
    names: {description: "The names in the certificate.", type: list, elements: str}
    why: {description: "Why it was made.", type: str}
authority:
  description: Path on the controller of the authority's certificate, for those who shall trust it.
  returned: with O(state=present)
  type: str
found:
  description: The certificates that are there, by path.
  returned: with O(state=read)
  type: dict
requests:
  description: The requests, by path.
  returned: with O(state=request)
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.frontdesk.webstack.plugins.module_utils import certificates


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "read", "request", "install"], "default": "present"},
            "paths": {"type": "list", "elements": "path", "default": []},
            "certificates": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    values = module.params
    try:
        if values["state"] == "read":
            module.exit_json(changed=False, found={path: certificates.read(path) for path in values["paths"]})
        if module.check_mode:
            module.exit_json(changed=True)
        if values["state"] == "request":
            module.exit_json(changed=True, requests={path: certificates.request(path) for path in values["paths"]})
        if values["state"] == "install":
            certificates.install(values["certificates"])
            module.exit_json(changed=True)
    except certificates.Failed as error:
        module.fail_json(msg=str(error))
    module.fail_json(msg="state=present is done by the action of the same name, which has the authority.")


if __name__ == "__main__":
    main()
