"""Run weights on pictures: the only door for users, applications, the web and validation.

The road of a picture: ``files`` or ``upscaler`` plans (``plan``), feeds rows to the chain of passes
(``passes``), each pass cuts them into tiles (``tiling``) and hands these to a backend
(``backends``).
"""
