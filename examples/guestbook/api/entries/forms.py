from uuid import uuid4

from django import forms
from django.core.files.uploadedfile import UploadedFile

from .models import Entry

MAX_PICTURE_BYTES = 2 * 1024 * 1024


def picture_kind(head):
    """The file name extension for the first bytes of a picture, or None. What the client claims does not count."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head.startswith(b"\xff\xd8\xff"):
        return "jpg"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "webp"
    return None


class EntryForm(forms.ModelForm):
    class Meta:
        model = Entry
        fields = ("name", "message", "picture")

    def clean_picture(self):
        picture = self.cleaned_data["picture"]
        if isinstance(picture, UploadedFile):  # not when the admin leaves a stored picture as it is
            if picture.size > MAX_PICTURE_BYTES:
                raise forms.ValidationError("The picture is larger than 2 MB.")
            kind = picture_kind(picture.read(16))
            picture.seek(0)
            if not kind:
                raise forms.ValidationError("The picture must be a PNG, JPEG, GIF or WebP file.")
            picture.name = f"{uuid4().hex}.{kind}"
        return picture
