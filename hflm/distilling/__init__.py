"""What `hflm distill` is made of: teacher, student, the teacher's texts, what the student keeps."""
