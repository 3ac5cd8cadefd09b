from django.db import models


class Entry(models.Model):
    name = models.CharField(max_length=80)
    message = models.TextField(max_length=1000)
    picture = models.FileField(upload_to="pictures/", blank=True)
    created = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("-created", "-id")
        verbose_name_plural = "entries"

    def __str__(self):
        return f"{self.name}: {self.message[:40]}"

    def as_json(self):
        return {
            "id": self.pk,
            "name": self.name,
            "message": self.message,
            "picture": self.picture.url if self.picture else None,
            "created": self.created.isoformat(),
        }
