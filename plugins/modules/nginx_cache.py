#!/usr/bin/python
# Copyright (c) 2026 the frontdesk.webstack authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: nginx_cache
short_description: Forget what nginx remembers of a site's answers
version_added: 0.2.0
description:
  - Removes the files of remembered answers, so that the next request asks the app. nginx is not reloaded.
  - An answer that is on its way while this runs may be remembered after it.
attributes:
  check_mode:
    description: Counts, and removes nothing.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
options:
  site:
    description: Name of the site, an item of C(nginx_sites).
    type: str
    required: true
  paths:
    description:
      - Paths, such as C(/news/), each with all its queries and kinds of answers; C(/news/*) for all that begin so, and
        C(/news/?page=2) for one query.
      - Without any, all answers of the site are meant.
    type: list
    elements: str
    default: []
  folder:
    description: Where the folders of the zones are.
    type: path
    default: /var/cache
  path:
    description: nginx's folder.
    type: path
    default: /etc/nginx
author:
  - The frontdesk.webstack authors (@frontdesk)
"""

EXAMPLES = r"""
- name: Forget the news
  frontdesk.webstack.nginx_cache:
    site: shop
    paths: [/, /news/*]
  become: true
"""

RETURN = r"""
removed:
  description: How many answers were removed.
  returned: always
  type: int
  sample: 12
known:
  description: Whether the host has the site.
  returned: always
  type: bool
sites:
  description: The sites that the host has.
  returned: always
  type: list
  elements: str
"""

import os

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.frontdesk.webstack.plugins.module_utils import nginx_cache


def main():
    """Run the module."""
    module = AnsibleModule(argument_spec={
        "site": {"type": "str", "required": True},
        "paths": {"type": "list", "elements": "str", "default": []},
        "folder": {"type": "path", "default": nginx_cache.FOLDER},
        "path": {"type": "path", "default": "/etc/nginx"},
    }, supports_check_mode=True)
    values = module.params
    for one in values["paths"]:
        if not one.startswith("/"):
            module.fail_json(msg=f"paths: {one!r} must start with a slash, such as '/news/' or '/news/*'.")
    live = os.path.join(values["path"], "webstack", "sites")
    sites = sorted(name.removesuffix(".conf") for name in os.listdir(live)) if os.path.isdir(live) else []
    removed = nginx_cache.purge(values["site"], values["paths"], values["folder"], module.check_mode)
    module.exit_json(changed=removed > 0, removed=removed, known=values["site"] in sites, sites=sites)


if __name__ == "__main__":
    main()
