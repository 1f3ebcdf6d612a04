"""What is logged beside numbers: tables, pages, images, files. Content becomes rows and blobs here."""
