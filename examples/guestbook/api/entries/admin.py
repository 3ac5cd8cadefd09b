from django.contrib import admin

from .forms import EntryForm
from .models import Entry


@admin.register(Entry)
class EntryAdmin(admin.ModelAdmin):
    form = EntryForm
    list_display = ("name", "message", "created")
    search_fields = ("name", "message")
